"""Synonyms within a language and translations across languages."""
