"""From a scan to a prepared case in the store."""
