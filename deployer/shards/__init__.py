"""Shards: documents encoded once, without a cluster, and looked up where they are loaded."""
