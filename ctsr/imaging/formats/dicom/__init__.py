"""DICOM: the series that a folder or a file holds."""
