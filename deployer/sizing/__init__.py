"""A capacity sheet: what a bundle and a number of documents take on a cluster, from a sample of the documents."""
