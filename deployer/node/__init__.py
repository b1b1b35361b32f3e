"""The embedded OpenSearch node."""
