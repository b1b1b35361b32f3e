"""Milvus ``SPARSE_FLOAT_VECTOR``: entities from shards, and the query vector, for the metric ``IP`` (dot product).

Entities and queries are plain dictionaries, so this module imports nothing of Milvus; its client is the extra
``milvus``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from osparse.contracts.shards import ShardSet
from osparse.formula.query_encoder import QueryEncoder
from osparse.integrations.sparse_documents import VECTOR_FIELD, documents, query_weights

ID_FIELD = "id"
"""The primary key: the document's id, as VARCHAR."""


def entities(shards: ShardSet, *, field: str = VECTOR_FIELD) -> Iterator[dict[str, Any]]:
    """One entity per document that has weights, for ``client.upsert``: a text without weights can never be found.

    Raises:
        InputError: a document has a field of the name ``id`` or ``field``.
    """
    for document in documents(shards):
        if document.ids:
            vector = dict(zip(document.ids, document.weights, strict=True))
            yield {**document.stored_fields(ID_FIELD, field), ID_FIELD: document.id, field: vector}


def query(encoder: QueryEncoder, text: str) -> dict[int, float]:
    """One of the ``data`` of ``client.search``; empty if no token is known, and then there is nothing to search."""
    return query_weights(encoder, text)
