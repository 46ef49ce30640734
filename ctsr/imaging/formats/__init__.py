"""Readers of every format that scans come in, and what they have in common."""
