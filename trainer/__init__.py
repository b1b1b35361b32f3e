"""dataset in, model out."""
