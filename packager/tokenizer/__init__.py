"""The packaged tokenizer.json: the library's tokenizer, document prompts, truncation."""
