"""Exact simulation of searches from stored weights."""
