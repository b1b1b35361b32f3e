"""Hard negatives and teachers' scores."""
