"""model in, proved bundle out."""
