"""Status, heal and doctor: what serves, what is broken, and how to repair it."""
