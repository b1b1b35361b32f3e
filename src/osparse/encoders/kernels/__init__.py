"""Products of an encoder in other forms than torch's own: on a GPU, with packed weights, with int8 weights."""
