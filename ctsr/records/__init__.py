"""What crosses rooms, typed: built once, checked once."""
