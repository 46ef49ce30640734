"""TIFF: slices, one a file, or a volume of many pages."""
