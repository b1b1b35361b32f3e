"""Suites of public judged sets, beside published figures."""
