"""Java, jars and OpenMP: what must be set up outside Python."""
