"""Elasticsearch ``sparse_vector``: bulk actions from shards, and the search that scores them by the dot product.

Features are vocabulary ids in decimal, because Elasticsearch refuses feature names with a dot. The field keeps 9
significant bits of a weight, which is what the shards have already: it rounds nothing further. The score is the sum of
the products of query weight and stored weight.

Source: Elasticsearch reference, "Sparse vector field type" and "Sparse vector query".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from osparse.contracts.shards import ShardSet
from osparse.formula.query_encoder import QueryEncoder
from osparse.integrations.sparse_documents import VECTOR_FIELD, documents, query_weights


def mapping(field: str = VECTOR_FIELD) -> dict[str, Any]:
    """The mapping that an index needs for :func:`actions`."""
    return {"properties": {field: {"type": "sparse_vector"}}}


def actions(shards: ShardSet, index: str, *, field: str = VECTOR_FIELD) -> Iterator[dict[str, Any]]:
    """One action per document for ``elasticsearch.helpers.bulk``; a text without weights gets no vector.

    Raises:
        InputError: a document has a field of the name ``field``.
    """
    for document in documents(shards):
        source = document.stored_fields(field)
        if document.ids:
            source[field] = {str(i): weight for i, weight in zip(document.ids, document.weights, strict=True)}
        yield {"_op_type": "index", "_index": index, "_id": document.id, "_source": source}


def query(encoder: QueryEncoder, text: str, *, field: str = VECTOR_FIELD) -> dict[str, Any]:
    """The ``query`` of a search request (Elasticsearch 8.15 or later).

    Pruning is off, so every token of the query counts. A query without any known token matches nothing.
    """
    weights = query_weights(encoder, text)
    if not weights:
        return {"match_none": {}}
    vector = {str(i): weight for i, weight in weights.items()}
    return {"sparse_vector": {"field": field, "query_vector": vector, "prune": False}}
