"""The stages of a run: warm start, masked LM, ranking; with teachers and sparsity."""
