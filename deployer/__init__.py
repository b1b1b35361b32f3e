"""bundle in, a served index out; and the embedded node."""
