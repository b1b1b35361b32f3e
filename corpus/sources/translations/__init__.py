"""Translated texts: catalogues, translation memories and help pages in several languages."""
