"""The REST calls of OpenSearch by what they are about: one method each, no decisions."""
