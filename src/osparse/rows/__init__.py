"""Rows with named fields, whatever file they come from: one reader, one set of rules for all commands."""
