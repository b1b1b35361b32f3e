"""The vectors of shards by text: what was encoded once is not encoded again, whatever the order of the documents.

The digests of all texts are in a temporary SQLite file, so memory does not grow with the set; the shards that were
asked last are in memory.
"""

from __future__ import annotations

import hashlib
import sqlite3
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

from osparse.contracts.shards import ShardSet, read_table
from osparse.deployer.load.documents import DocumentRow
from osparse.deployer.load.vectors import Vector, vectors_of

IN_MEMORY = 4
"""Shards whose vectors are held decoded."""


class VectorLookup:
    """A context manager; thread-safe. Texts, not ids, are looked up: a document whose other fields changed is found."""

    def __init__(self, shards: ShardSet) -> None:
        self._shards = shards
        self._folder = tempfile.TemporaryDirectory(prefix="osparse-")
        self._lock = threading.Lock()
        self._decoded: OrderedDict[int, list[Vector]] = OrderedDict()
        self._places = sqlite3.connect(Path(self._folder.name) / "texts.sqlite", check_same_thread=False)
        self._places.execute("PRAGMA journal_mode=OFF")
        self._places.execute("PRAGMA synchronous=OFF")
        self._places.execute("CREATE TABLE place (text BLOB PRIMARY KEY, shard INT, row INT) WITHOUT ROWID")
        self._places.executemany("INSERT OR IGNORE INTO place VALUES (?, ?, ?)", self._texts())
        self._places.commit()

    def __enter__(self) -> VectorLookup:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._places.close()
        self._folder.cleanup()

    def of(self, documents: Sequence[DocumentRow]) -> list[Vector | None]:
        """The vector of each document's text; None for a text that the shards do not have."""
        return self.find([document.text for document in documents])

    def find(self, texts: Sequence[str]) -> list[Vector | None]:
        """The vector of each text; None for one that the shards do not have."""
        with self._lock:
            places = [
                self._places.execute("SELECT shard, row FROM place WHERE text = ?", (_digest(text),)).fetchone()
                for text in texts
            ]
            return [None if place is None else self._vectors(place[0])[place[1]] for place in places]

    def _texts(self) -> Iterator[tuple[bytes, int, int]]:
        for number, name in enumerate(self._shards.names):
            table = read_table(self._shards.folder, name, ["operation", "text"])
            for row, (operation, text) in enumerate(table.iter_rows()):
                if operation == "index":
                    yield _digest(text), number, row

    def _vectors(self, shard: int) -> list[Vector]:
        vectors = self._decoded.get(shard)
        if vectors is None:
            table = read_table(self._shards.folder, self._shards.names[shard], ["ids", "weights", "cut"])
            vectors = self._decoded[shard] = list(vectors_of(table))
            if len(self._decoded) > IN_MEMORY:
                self._decoded.popitem(last=False)
        self._decoded.move_to_end(shard)
        return vectors


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
