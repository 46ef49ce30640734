"""The losses of the paper."""
