"""Terms for BM25, and words for counting and comparing."""
