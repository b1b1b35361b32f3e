"""The documents of shards and the query weights of a bundle, both by vocabulary id: what every engine is given."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osparse.contracts.bundle import Bundle
from osparse.contracts.shards import ShardSet, read_table
from osparse.encoders.onnx_encoder import open_query_encoder
from osparse.errors import InputError
from osparse.formula.query_encoder import QueryEncoder
from osparse.io.file_folders import open_folder

TEXT_FIELD = "text"
VECTOR_FIELD = "sparse_embedding"
"""Where the vector is unless the caller says otherwise."""
_COLUMNS = ("id", "operation", "text", "fields", "ids", "weights")


@dataclass(frozen=True)
class SparseDocument:
    """One document of a shard."""

    id: str
    text: str
    fields: dict[str, Any]
    """The other fields of the row."""
    ids: list[int]
    """Vocabulary ids, ascending; empty for a text without weights."""
    weights: list[float]
    """Of each id, above 0, rounded as the shards keep them."""

    def stored_fields(self, *reserved: str) -> dict[str, Any]:
        """The other fields and the text; raises :class:`InputError` if a field has a ``reserved`` name."""
        taken = sorted({*reserved, TEXT_FIELD} & set(self.fields))
        if taken:
            raise InputError(
                f"document {self.id} has a field {taken[0]}, which the engine's own entry uses; encode with "
                "`rename` or `exclude`, or give the vector another `field`"
            )
        return {**self.fields, TEXT_FIELD: self.text}


def open_shards(location: str | Path, bundle: Bundle) -> ShardSet:
    """The complete shards of a folder or URL.

    Raises:
        InputError: there are none, some are missing, or another bundle encoded them.
    """
    shards = ShardSet.open(open_folder(location))
    shards.check_bundle(bundle.name, bundle.fingerprint, "is to encode the queries")
    return shards


def bundle_query_encoder(bundle: Bundle) -> QueryEncoder:
    """The bundle's tokenizer and IDF; no model is run. Raises :class:`BundleError` if it has no tokenizer part."""
    return open_query_encoder(bundle.zip_path("tokenizer"))


def documents(shards: ShardSet) -> Iterator[SparseDocument]:
    """The documents in the order of the input, without those that a later row deletes.

    Written in this order into an empty index or collection, a later document replacing an earlier one of the same id,
    they leave what loading the shards leaves. One shard and the ids of deleted documents are in memory.
    """
    deleted = _last_deletions(shards)
    place = 0
    for name in shards.names:
        for id_, operation, text, fields, ids, weights in read_table(shards.folder, name, _COLUMNS).iter_rows():
            if operation == "index" and deleted.get(id_, -1) < place:
                yield SparseDocument(id_, text, json.loads(fields), ids, weights)
            place += 1


def query_weights(encoder: QueryEncoder, text: str) -> dict[int, float]:
    """Vocabulary id -> weight of a query, without weights of 0; empty if the query has no known token."""
    weights = {i: float(encoder.lexicon.idf[i]) for i in encoder.ids(text)}
    return {i: weight for i, weight in weights.items() if weight > 0}


def _last_deletions(shards: ShardSet) -> dict[str, int]:
    """Deleted id -> the place of its last deletion among all rows."""
    last, place = dict[str, int](), 0
    for name in shards.names:
        for id_, operation in read_table(shards.folder, name, ("id", "operation")).iter_rows():
            if operation == "delete":
                last[id_] = place
            place += 1
    return last
