"""ctsr: cross-modality super-resolution of CT, learned without pairs."""

__version__ = "0.1.0"
