"""One part of the encoding: which shards are its own, which of them are there already, and what the others hold."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from osparse.contracts.bundle import Bundle
from osparse.contracts.shards import ShardInfo, columns, place_of, read_info, shard_names, write_shard
from osparse.deployer.encode.encoders import FeatureSource
from osparse.deployer.encode.worker import unpacked
from osparse.deployer.load.bulk import Failure, FailureLog
from osparse.deployer.load.documents import (
    DeletionRow,
    DocumentRow,
    Row,
    UnusableRow,
    documents_of_file,
    warn_of_unused,
)
from osparse.deployer.load.vectors import Vector, with_text
from osparse.deployer.shards.encode_result import EncodeResult
from osparse.deployer.shards.lookup import VectorLookup
from osparse.errors import InputError
from osparse.formula.lucene_rounding import quantise
from osparse.io.file_folders import FileFolder
from osparse.io.files import canonical_json
from osparse.io.progress import progress
from osparse.rows.row_rules import RowRules
from osparse.rows.text_template import TEXT_FIELD

if TYPE_CHECKING:
    import polars as pl

_SETTINGS = ("bundle", "vocabulary", "long texts", "rows of a shard", "number of input files", "template")
"""What :attr:`ShardInfo.settings` holds, in words."""
_UNFINISHED = re.compile(r"\.(shard-\d+-\d+\.parquet)\.[0-9a-f]{12}")
"""The temporary name of a shard that a killed run was writing to a local folder."""


@dataclass(frozen=True)
class Input:
    """The rows, cut into shards, and which of the shards this part encodes."""

    paths: Sequence[Path]
    part: tuple[int, int]
    shard_rows: int
    rules: RowRules
    """How rows become documents."""

    @property
    def by_file(self) -> bool:
        """Whether the part takes whole files: it then reads no others."""
        return len(self.paths) >= self.part[1]

    def reads(self, file: int) -> bool:
        """Whether this part reads an input file; one beyond the last is everybody's."""
        return not self.by_file or file >= len(self.paths) or file % self.part[1] == self.part[0] - 1

    def shards(self) -> Iterator[tuple[int, int, bool, list[Row] | None]]:
        """(file, number, last of the file, rows) of every shard that is read; the rows of another part's are None."""
        count = 0
        for file, path in enumerate(self.paths):
            if not self.reads(file):
                continue
            rows = documents_of_file(path, self.rules)
            for number, (some, last) in enumerate(_batches(rows, self.shard_rows)):
                own = self.by_file or count % self.part[1] == self.part[0] - 1
                count += 1
                yield file, number, last, some if own else None
        warn_of_unused(self.rules)


@dataclass
class EncodeJob:
    """One run of one part."""

    bundle: Bundle
    folder: FileFolder
    read: Input
    long_texts: str
    """How texts that are longer than the encoder reads are encoded."""
    overwrite: bool
    source: FeatureSource
    failed: FailureLog
    result: EncodeResult
    """Counts what is done."""
    lookup: VectorLookup | None = None
    """Where vectors are looked for before a text is encoded."""

    def run(self) -> None:
        """Raises as :func:`osparse.deployer.encode_documents`."""
        files = self.folder.names()
        present, unfinished = set(shard_names(self.folder)), _unfinished(files)
        self._check_settings(present)
        expected = set[str]()
        with progress("encode", None, "documents") as bar:
            for file, number, last, rows in self.read.shards():
                bare = self._info(file, number, last)
                expected.add(bare.name)
                if rows is None:
                    continue
                self._shard(bare, rows, bare.name in present)
                bar.advance(len(rows))
                for name in unfinished.get(bare.name, ()):
                    self.folder.delete(name)
        self._drop_surplus(present - expected)

    def _info(self, file: int, number: int, last: bool, content: str = "", rows: int = 0) -> ShardInfo:
        b, read = self.bundle, self.read
        template = None if read.rules.template is None else str(read.rules.template)
        settings = (b.name, b.fingerprint, b.vocabulary, self.long_texts, read.shard_rows, len(read.paths), template)
        return ShardInfo(*settings, file, number, last, rows, content)

    def _shard(self, bare: ShardInfo, rows: list[Row], exists: bool) -> None:
        self.failed.add([Failure(row.id, row.reason) for row in rows if isinstance(row, UnusableRow)])
        usable = [row for row in rows if not isinstance(row, UnusableRow)]
        info = self._info(bare.file, bare.number, bare.last, _content(usable), len(usable))
        if exists:
            old = read_info(self.folder, info.name)
            if old == info:
                self.result.unchanged += 1
                return
            if not self.overwrite:
                raise InputError(
                    f"{self.folder.location}/{info.name} holds other rows than the input has there; choose another "
                    "`output` (with `since`, what is unchanged is not encoded again), or pass `overwrite=True`"
                )
        vectors = self._vectors([row for row in usable if isinstance(row, DocumentRow)])
        write_shard(self.folder, info, _table(usable, vectors))
        self.result.shards += 1
        self.result.documents += sum(isinstance(row, DocumentRow) for row in usable)
        self.result.cut += sum(vector.cut for vector in vectors.values())

    def _vectors(self, documents: list[DocumentRow]) -> dict[int, Vector]:
        """``id()`` of each row with a text -> its vector, rounded as Lucene keeps it."""
        filled = with_text(documents)
        old = self.lookup.of(filled) if self.lookup is not None else [None] * len(filled)
        vectors = {id(row): vector for row, vector in zip(filled, old, strict=True) if vector is not None}
        missing = [row for row in filled if id(row) not in vectors]
        self.result.reused += len(vectors)
        self.result.encoded += len(missing)
        made = self.source.encode([row.id for row in missing], [row.text for row in missing])
        for row, (packed, cut) in zip(missing, made, strict=True):
            ids, weights = unpacked(packed)
            weights = quantise(weights)
            vectors[id(row)] = Vector(ids[weights > 0], weights[weights > 0], cut)
        return vectors

    def _check_settings(self, present: set[str]) -> None:
        """Raises :class:`InputError` where the folder holds shards of another bundle or other settings."""
        if self.overwrite or not present:
            return
        name = min(present)
        old, own = read_info(self.folder, name), self._info(0, 0, False)
        differing = [
            what for what, there, here in zip(_SETTINGS, old.settings, own.settings, strict=True) if there != here
        ]
        if differing:
            raise InputError(
                f"{self.folder.location} holds shards that differ in {', '.join(differing)} (bundle {old.bundle}, "
                f"{old.fingerprint[:12]}); choose another `output`, or pass `overwrite=True`"
            )

    def _drop_surplus(self, surplus: set[str]) -> None:
        """Shards beyond the end of the input; a part that reads some files only knows of those."""
        own = {name for name in surplus if self.read.reads(place_of(name)[0])}
        if own and not self.overwrite:
            raise InputError(
                f"{self.folder.location} holds shards beyond the end of the input ({min(own)}); choose another "
                "`output`, or pass `overwrite=True`"
            )
        for name in own:
            self.folder.delete(name)


def _unfinished(files: Sequence[str]) -> dict[str, list[str]]:
    """Shard -> the temporary files of runs that were killed while they wrote it."""
    by_shard: dict[str, list[str]] = {}
    for name in files:
        if matched := _UNFINISHED.fullmatch(name):
            by_shard.setdefault(matched[1], []).append(name)
    return by_shard


def _batches(rows: Iterator[Row], size: int) -> Iterator[tuple[list[Row], bool]]:
    """Lists of ``size`` rows, and whether each is the last; one empty list where there are no rows."""
    current = list(islice(rows, size))
    while True:
        following = list(islice(rows, size)) if len(current) == size else []
        yield current, not following
        if not following:
            return
        current = following


def _content(rows: Sequence[DocumentRow | DeletionRow]) -> str:
    """sha256 over the ids and hashes of the rows."""
    digest = hashlib.sha256()
    for row in rows:
        stated = [row.id, row.hash if isinstance(row, DocumentRow) else None]
        digest.update(canonical_json(stated).encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()


def _table(rows: Sequence[DocumentRow | DeletionRow], vectors: dict[int, Vector]) -> pl.DataFrame:
    import polars as pl

    empty = Vector(np.empty(0, np.uint32), np.empty(0, np.float32), False)
    made = [vectors.get(id(row), empty) for row in rows]
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
        "ids": [vector.ids.tolist() for vector in made],
        "weights": [vector.weights.tolist() for vector in made],
        "cut": [vector.cut for vector in made],
    }
    types = columns()
    return pl.DataFrame([pl.Series(name, value, dtype=types[name]) for name, value in values.items()])
