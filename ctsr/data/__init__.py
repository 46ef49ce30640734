"""Cases, their preparation, and patches."""
