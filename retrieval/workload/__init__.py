"""A deployed index and its queries as a workload of OpenSearch Benchmark."""
