"""Volumes and their geometry: reading, orientation, resampling, masks, grey values, f()."""
