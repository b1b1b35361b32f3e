"""Comparing graphs with their model: parity cases and probes."""
