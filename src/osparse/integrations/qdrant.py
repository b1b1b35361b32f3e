"""Qdrant sparse vectors: points from shards, and the query vector; Qdrant scores them by the dot product.

Extra ``qdrant``. The collection must have a sparse vector of the name ``field`` without the IDF modifier: the query
weights hold the IDF already.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

from osparse.contracts.shards import ShardSet
from osparse.formula.query_encoder import QueryEncoder
from osparse.integrations.sparse_documents import VECTOR_FIELD, documents, query_weights
from osparse.plugins.extras import require

if TYPE_CHECKING:
    from qdrant_client.models import PointStruct, SparseVector

ID_FIELD = "id"
"""Where a point's payload has the document's id."""
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "osparse document")


def point_id(document: str) -> str:
    """The UUID of a document's point: Qdrant takes no other text as an id. Equal ids give equal UUIDs."""
    return str(uuid.uuid5(_NAMESPACE, document))


def points(shards: ShardSet, *, field: str = VECTOR_FIELD) -> Iterator[PointStruct]:
    """One point per document, for ``client.upload_points`` or ``client.upsert``; a text without weights has no vector.

    The payload is the document's fields, its ``text`` and its ``id``.

    Raises:
        InputError: a document has a field of the name ``id``.
        MissingExtraError: qdrant-client is not installed.
    """
    models = require("qdrant_client.models", "qdrant")
    for document in documents(shards):
        payload = {**document.stored_fields(ID_FIELD), ID_FIELD: document.id}
        vector = models.SparseVector(indices=document.ids, values=document.weights)
        yield models.PointStruct(
            id=point_id(document.id), vector={field: vector} if document.ids else {}, payload=payload
        )


def query(encoder: QueryEncoder, text: str) -> SparseVector:
    """What ``client.query_points(collection, query=..., using=field)`` takes; empty if no token is known.

    Raises:
        MissingExtraError: qdrant-client is not installed.
    """
    weights = query_weights(encoder, text)
    vector: SparseVector = require("qdrant_client.models", "qdrant").SparseVector(
        indices=list(weights), values=list(weights.values())
    )
    return vector
