"""Judging more documents: a file of what to judge, and the dataset with the judgements that come back."""
