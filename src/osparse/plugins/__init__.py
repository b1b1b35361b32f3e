"""Code of other packages: extras, entry points and dotted paths."""
