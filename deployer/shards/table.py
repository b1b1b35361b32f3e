"""The rows of a shard as a table: first what the input says of each document, then its vector beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from osparse.contracts.shards import columns
from osparse.deployer.load.documents import DeletionRow, DocumentRow
from osparse.deployer.load.vectors import Vector
from osparse.io.files import canonical_json
from osparse.rows.text_template import TEXT_FIELD

if TYPE_CHECKING:
    import polars as pl

VECTOR_COLUMNS = ("ids", "weights", "cut")
_NO_VECTOR = Vector(np.empty(0, np.uint32), np.empty(0, np.float32), False)


def document_columns() -> dict[str, Any]:
    """Column -> Polars type of everything but the vector."""
    return {name: kind for name, kind in columns().items() if name not in VECTOR_COLUMNS}


def documents_table(rows: Sequence[DocumentRow | DeletionRow]) -> pl.DataFrame:
    """The rows without vectors, in order."""
    import polars as pl

    documents = [row if isinstance(row, DocumentRow) else DocumentRow("", {TEXT_FIELD: ""}) for row in rows]
    others = [{name: value for name, value in row.fields.items() if name != TEXT_FIELD} for row in documents]
    is_document = [isinstance(row, DocumentRow) for row in rows]
    values: dict[str, list[Any]] = {
        "id": [row.id for row in rows],
        "operation": ["index" if indexed else "delete" for indexed in is_document],
        "hash": [row.hash if indexed else "" for row, indexed in zip(documents, is_document, strict=True)],
        "text": [row.text for row in documents],
        "fields": [json.dumps(fields, ensure_ascii=False, separators=(",", ":")) for fields in others],
        "typed": [row.typed for row in documents],
        "cleared": [sorted(row.cleared) for row in documents],
    }
    types = document_columns()
    return pl.DataFrame([pl.Series(name, value, dtype=types[name]) for name, value in values.items()])


def content_of(documents: pl.DataFrame) -> str:
    """sha256 over the ids and hashes of the rows."""
    digest = hashlib.sha256()
    for name, operation, content in documents.select("id", "operation", "hash").iter_rows():
        stated = [name, content if operation == "index" else None]
        digest.update(canonical_json(stated).encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()


def rows_to_encode(documents: pl.DataFrame) -> list[int]:
    """Positions of the documents whose text is not blank: a blank one has no vector."""
    pairs = documents.select("operation", "text").iter_rows()
    return [row for row, (operation, text) in enumerate(pairs) if operation == "index" and text.strip()]


def with_vectors(documents: pl.DataFrame, vectors: dict[int, Vector]) -> pl.DataFrame:
    """The whole table of a shard; ``vectors`` has those of the rows that have one, by position."""
    import polars as pl

    made = [vectors.get(row, _NO_VECTOR) for row in range(documents.height)]
    values: dict[str, list[Any]] = {
        "ids": [vector.ids.tolist() for vector in made],
        "weights": [vector.weights.tolist() for vector in made],
        "cut": [vector.cut for vector in made],
    }
    types = columns()
    return documents.with_columns(pl.Series(name, value, dtype=types[name]) for name, value in values.items())
