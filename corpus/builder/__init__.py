"""From records to a dataset directory, its statistics and plots."""
