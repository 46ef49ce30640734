"""Lung tissue without patients: grown by a seeded procedure, seen through two different scanners."""
