"""The scoring formula: document weights, query weights, and the lexicon that holds them."""
