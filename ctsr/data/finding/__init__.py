"""Scans on disk: which there are, whose, and what lies beside them."""
