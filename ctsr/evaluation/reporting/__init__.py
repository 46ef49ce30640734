"""Figures told: tables, pictures and the report."""
