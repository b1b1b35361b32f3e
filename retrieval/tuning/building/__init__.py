"""Parameters of a sparse_vector field that are fixed when its index is made: tried by making indices."""
