"""Zips that another tool made: what they are, and whether they hold."""
