"""What a word is, which language a text is in, and masking of a query's words."""
