"""every body ever sent to OpenSearch, as JSON a person can read and paste."""
