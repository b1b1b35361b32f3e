"""Reading a checkpoint: weights, tokenizer, head settings, query weights."""
