"""Super-resolving a whole scan with a trained checkpoint."""
