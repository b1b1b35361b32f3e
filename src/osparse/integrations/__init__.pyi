from . import elasticsearch, milvus, qdrant, ray, sentence_transformers, spark
from .sparse_documents import SparseDocument, bundle_query_encoder, open_shards

__all__ = [
    "SparseDocument",
    "bundle_query_encoder",
    "elasticsearch",
    "milvus",
    "open_shards",
    "qdrant",
    "ray",
    "sentence_transformers",
    "spark",
]
