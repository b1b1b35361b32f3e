"""Judged queries, ranking measures, exact search and significance tests."""
