"""How a bundle suits a corpus and a cluster."""
