"""Training records, candidates, and how batches are made of them."""
