"""The lungs in a clinical scan, and the specimen in a µCT scan."""
