"""Tokenizers with fewer tokens: subword models, their merges, and new ids."""
