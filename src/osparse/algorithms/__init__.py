"""General algorithms: connected components, IBM model 1, what a word is."""
