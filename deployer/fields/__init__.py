"""The fields of documents: their values, their types in an index, and the text that is made of them."""
