"""Take over an index that osparse did not make: its documents, its definition and its name."""
