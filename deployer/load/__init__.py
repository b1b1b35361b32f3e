"""Loading documents: reading, encoding, bulk requests."""
