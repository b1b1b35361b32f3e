"""The weight of a fusion with BM25, fitted without judgements."""
