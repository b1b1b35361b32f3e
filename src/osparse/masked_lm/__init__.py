"""Masked language models of transformers: loading, architectures, and GTE by own code."""
