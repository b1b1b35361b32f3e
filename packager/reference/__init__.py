"""Comparison of a bundle with sentence-transformers."""
