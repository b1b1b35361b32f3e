"""Where the vectors of a load come from: given with the documents, made on this machine, or left to the cluster.

A vector is written into a document as the index's own pipeline would write it: words or vocabulary ids by the field,
pruned as the index's rule says.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from osparse.contracts.deployment import CHUNK_TEXTS_FIELD, Deployment, feature_name
from osparse.contracts.shards import ShardSet
from osparse.deployer.encode.encoders import FeatureSource
from osparse.deployer.encode.worker import Form
from osparse.deployer.fields.index_fields import IndexFields
from osparse.deployer.load.documents import DeletionRow, DocumentRow, Row, as_text
from osparse.formula.pruning import prune_by
from osparse.rows.field_types import ROWS as LOOK_AHEAD
from osparse.rows.field_types import converted
from osparse.rows.text_template import TEXT_FIELD, TextTemplate

if TYPE_CHECKING:
    import polars as pl

NO_FEATURES = b"{}"


class Vector(NamedTuple):
    """A document's vector; ``ids`` is empty where the text has no weights."""

    ids: NDArray[np.uint32]
    """(N,) vocabulary ids, ascending."""
    weights: NDArray[np.float32]
    """(N,), above 0."""
    cut: bool
    """Whether the text was longer than the encoder reads."""


class GivenVectors(Protocol):
    """Vectors that exist already; called by several threads."""

    def of(self, documents: Sequence[DocumentRow]) -> list[Vector | None]:
        """The vector of each document; None where it has none."""


@dataclass(frozen=True)
class VectorField:
    """How one index writes a vector into a document."""

    deployment: Deployment
    model: dict[str, str] = field(default_factory=dict)
    """Of a semantic field: id, name and type of its encoder, which the field keeps beside the vector."""

    @property
    def form(self) -> Form:
        """How encoders of this machine are asked to write vectors."""
        return "ids" if self.deployment.vector == "sparse_vector" else self.deployment.key_style

    def member(self, features: bytes) -> bytes:
        """``"name":value`` of the JSON object of a vector's features."""
        if self.deployment.vector != "semantic":
            return f'"{self.deployment.field}":'.encode() + features
        name, _, leaf = self.deployment.field.partition(".")
        model = f'"model":{json.dumps(self.model)},' if self.model else ""
        return f'"{name}":{{{model}"{leaf}":'.encode() + features + b"}"

    def names(self, tokens: Sequence[str]) -> list[str]:
        """The feature name of each vocabulary id."""
        if self.form == "ids":
            return [str(i) for i in range(len(tokens))]
        style = self.deployment.key_style
        return [feature_name(token, style) for token in tokens]


class Members(NamedTuple):
    """The vectors of a batch as members of JSON objects."""

    by_id: dict[str, bytes]
    """Of every document whose vector is known and not empty."""
    known: set[str]
    """Ids of the documents whose vector is known; the cluster encodes the others."""
    encoded: int
    """Texts that were encoded on this machine."""
    cut: int
    """Documents among the known whose text was longer than the encoder reads."""


class Vectors(Protocol):
    """What a load asks for the vectors of its documents; called by several threads."""

    def members(self, documents: Sequence[DocumentRow]) -> Members: ...

    def close(self) -> None: ...


@dataclass
class VectorSource:
    """The vectors of one load: given ones first, then those that ``encoder`` makes."""

    index_field: VectorField
    encoder: Callable[[], FeatureSource] | None
    """Opened when the first text is to be encoded; it must write the form of :attr:`VectorField.form`, pruned. None
    leaves texts without a vector to the cluster."""
    given: GivenVectors | None = None
    tokens: Callable[[], Sequence[str]] | None = None
    """The vocabulary, read when the first vector that was given is written."""
    _source: FeatureSource | None = None
    _names: list[str] | None = None
    _opening: threading.Lock = field(default_factory=threading.Lock)

    def members(self, documents: Sequence[DocumentRow]) -> Members:
        """Args: documents: with a text that is not blank.

        Raises:
            OsparseError: an encoder process died.
        """
        given = self.given.of(documents) if self.given is not None else [None] * len(documents)
        features = {
            document.id: (self._features(vector), vector.cut)
            for document, vector in zip(documents, given, strict=True)
            if vector is not None
        }
        missing = [document for document in documents if document.id not in features]
        made = self._encode(missing) if self.encoder is not None else {}
        features |= made
        filled = {i: self.index_field.member(vector) for i, (vector, _) in features.items() if vector != NO_FEATURES}
        return Members(filled, set(features), len(made), sum(cut for _, cut in features.values()))

    def close(self) -> None:
        if self._source is not None:
            self._source.close()

    def _encode(self, documents: Sequence[DocumentRow]) -> dict[str, tuple[bytes, bool]]:
        if not documents or self.encoder is None:
            return {}
        with self._opening:
            if self._source is None:
                self._source = self.encoder()
        encoded = self._source.encode([document.id for document in documents], [one.text for one in documents])
        return {document.id: (made.vector, made.cut) for document, made in zip(documents, encoded, strict=True)}

    def _features(self, vector: Vector) -> bytes:
        with self._opening:
            if self._names is None:
                if self.tokens is None:
                    raise ValueError("`tokens` is required where vectors are given")
                self._names = self.index_field.names(self.tokens())
        weights = prune_by(self.index_field.deployment.prune, vector.weights)
        names = self._names
        # the mantissas are rounded to 8 bits, so their float64 digits are few
        pairs = {
            names[i]: weight for i, weight in zip(vector.ids.tolist(), weights.tolist(), strict=True) if weight > 0
        }
        return json.dumps(pairs, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


@dataclass
class PieceVectors:
    """The vectors of the pieces of texts, cut as the index's pipeline cuts them and encoded on this machine."""

    index_field: VectorField
    encoder: Callable[[], FeatureSource]
    """As that of :class:`VectorSource`."""
    cut_into_pieces: Callable[[Sequence[str]], list[list[str]]]
    """Texts -> the pieces of each; none where the cluster cannot cut the text."""
    _source: FeatureSource | None = None
    _opening: threading.Lock = field(default_factory=threading.Lock)

    def members(self, documents: Sequence[DocumentRow]) -> Members:
        """As :meth:`VectorSource.members`; a text without pieces is left to the cluster."""
        pieces = self.cut_into_pieces([document.text for document in documents]) if documents else []
        known = [(document, some) for document, some in zip(documents, pieces, strict=True) if some]
        if not known:
            return Members({}, set(), 0, 0)
        with self._opening:
            if self._source is None:
                self._source = self.encoder()
        flat = [(document.id, piece) for document, some in known for piece in some]
        encoded = iter(self._source.encode([i for i, _ in flat], [piece for _, piece in flat]))
        by_id, cut = dict[str, bytes](), 0
        for document, some in known:
            made = [next(encoded) for _ in some]
            by_id[document.id] = self._member(some, [vector for vector, _ in made])
            cut += any(is_cut for _, is_cut in made)
        return Members(by_id, set(by_id), len(known), cut)

    def close(self) -> None:
        if self._source is not None:
            self._source.close()

    def _member(self, pieces: Sequence[str], vectors: Sequence[bytes]) -> bytes:
        path, _, leaf = self.index_field.deployment.field.rpartition(".")
        nested = b",".join(b'{"%s":%s}' % (leaf.encode(), vector) for vector in vectors)
        texts = json.dumps(pieces, ensure_ascii=False).encode("utf-8", "replace")
        return b'"%s":%s,"%s":[%s]' % (CHUNK_TEXTS_FIELD.encode(), texts, path.encode(), nested)


@dataclass(frozen=True, eq=False)
class EncodedRow(DocumentRow):
    """A document with its vector."""

    vector: Vector | None = None
    content_hash: str = ""

    @property
    def hash(self) -> str:
        return self.content_hash

    def after(self, earlier: DocumentRow) -> EncodedRow:
        row = DocumentRow(self.id, self.fields, self.cleared).after(earlier)
        return replace(self, fields=row.fields, cleared=row.cleared, complete=row.complete, content_hash=row.hash)

    def with_types(self, index: IndexFields, text: Collection[str]) -> EncodedRow:
        """The row with the types that the index has for the fields; ``text`` are those that stay text."""
        if self.typed:
            return self
        fields = {
            name: value if name in text else converted(value, index.kind(name)) for name, value in self.fields.items()
        }
        content = DocumentRow(self.id, fields, self.cleared).hash
        return replace(self, fields=fields, typed=True, content_hash=content)


class RowVectors:
    """The vectors that rows bring themselves."""

    def of(self, documents: Sequence[DocumentRow]) -> list[Vector | None]:
        return [document.vector if isinstance(document, EncodedRow) else None for document in documents]


def encoded_rows(shards: ShardSet, index: IndexFields | None = None) -> Iterator[Row]:
    """Every document and deletion of a set, in the order of the input; a shard is in memory at a time.

    Args:
        index: Gets the types of new fields from the first shard, and gives those of the fields that have none.
    """
    made = shards.first.text_template
    text = as_text(TextTemplate.parse(made) if made is not None else None)
    for number, table in enumerate(shards.tables()):
        rows = [*_rows_of_shard(table)]
        if index is not None:
            if number == 0:
                documents = (row for row in rows[:LOOK_AHEAD] if isinstance(row, EncodedRow))
                index.learn(((row.fields, row.typed) for row in documents), as_text=text)
            rows = [row.with_types(index, text) if isinstance(row, EncodedRow) else row for row in rows]
        yield from rows


def _rows_of_shard(table: pl.DataFrame) -> Iterator[Row]:
    for row, vector in zip(table.drop("ids", "weights").iter_rows(named=True), vectors_of(table), strict=True):
        if row["operation"] == "delete":
            yield DeletionRow(row["id"])
            continue
        fields = {TEXT_FIELD: row["text"], **json.loads(row["fields"])}
        yield EncodedRow(
            row["id"], fields, frozenset(row["cleared"]), row["typed"], vector=vector, content_hash=row["hash"]
        )


def vectors_of(table: pl.DataFrame) -> Iterator[Vector]:
    """The vector of each row of a shard."""
    ids, weights = (_flat(table, column, kind) for column, kind in (("ids", np.uint32), ("weights", np.float32)))
    ends = np.cumsum(table["ids"].list.len().to_numpy(), dtype=np.int64)
    start = 0
    for end, cut in zip(ends.tolist(), table["cut"].to_list(), strict=True):
        yield Vector(ids[start:end], weights[start:end], cut)
        start = end


def _flat(table: pl.DataFrame, column: str, kind: type[np.generic]) -> np.ndarray:
    """The elements of all lists of a column in turn; an empty list has none."""
    return table[column].list.explode(empty_as_null=False, keep_nulls=False).to_numpy().astype(kind, copy=False)
