"""Fitting a WordPiece, unigram or BPE tokenizer."""
