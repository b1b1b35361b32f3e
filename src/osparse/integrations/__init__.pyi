from . import elasticsearch, milvus, qdrant, sentence_transformers
from .sparse_documents import SparseDocument, bundle_query_encoder, open_shards

__all__ = [
    "SparseDocument",
    "bundle_query_encoder",
    "elasticsearch",
    "milvus",
    "open_shards",
    "qdrant",
    "sentence_transformers",
]
