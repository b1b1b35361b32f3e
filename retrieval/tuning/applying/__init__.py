"""Put a chosen setting into service: copies, pruned bundles, records, pipelines."""
