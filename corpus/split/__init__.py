"""Groups of rows that belong together, and their split into train, validation and test."""
