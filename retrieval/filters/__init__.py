"""Filters of a search: a small language over the query DSL, and query DSL as it is."""
