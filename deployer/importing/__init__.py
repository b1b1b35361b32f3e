"""Models of a cluster read back into files."""
