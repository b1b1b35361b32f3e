"""The systems that can be evaluated: a deployed index, a model, a bundle, BM25 and a run file."""
