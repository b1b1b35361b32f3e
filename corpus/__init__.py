"""text in, a dataset out: readers, splits, tokenizer, IDF."""
