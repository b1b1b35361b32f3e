"""What a model has learnt from: hashes of its training documents and queries, so that an evaluation can tell.

``seen.bin`` lies in a model directory, in a bundle, and in a dataset whose candidates a model has scored:

    {"texts": 3, "unknown": []}      one line of JSON, padded with spaces to a multiple of 8 bytes
    8 bytes per text                 the hashes in ascending order, little endian

A hash is BLAKE2b of 8 bytes over the text in NFC and lower case with single spaces, with another key for documents than
for queries. A text that was not learnt from is taken for one that was with probability texts / 2^64 (see
:meth:`SeenTexts.false_positives`); one that was is always found. The file is read from a memory map.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from osparse.algorithms.words import normalised
from osparse.errors import InputError, OsparseError
from osparse.io.files import canonical_json, sha256_file

SEEN = "seen.bin"
HASH_BYTES = 8
MAX_HEADER = 1 << 20
"""Bytes that the first line may have."""
Kind = Literal["document", "query"]


@dataclass(frozen=True)
class SeenFile:
    """The file as the description beside it lists it."""

    name: str
    sha256: str
    size: int
    """Bytes."""


@dataclass(frozen=True, eq=False)
class SeenTexts:
    """A set of documents and queries."""

    hashes: NDArray[np.uint64]
    """(n,) ascending, each once."""
    unknown: tuple[str, ...] = ()
    """What was learnt from beside them: starts and teachers whose own training texts are not known."""

    @classmethod
    def of(cls, documents: Iterable[str], queries: Iterable[str], unknown: Iterable[str] = ()) -> SeenTexts:
        """Of texts that are read once; 8 bytes of memory for each."""
        hashes = array("Q", (text_hash("document", text) for text in documents))
        hashes.extend(text_hash("query", text) for text in queries)
        return cls(np.unique(np.frombuffer(hashes, np.uint64)) if hashes else _none(), tuple(sorted({*unknown})))

    @classmethod
    def open(cls, path: Path, error: type[OsparseError] = InputError) -> SeenTexts:
        """Memory-mapped; raises ``error`` if the file is not of this form."""
        try:
            with path.open("rb") as file:
                header = file.readline(MAX_HEADER)
            described = json.loads(header)
            texts, unknown = int(described["texts"]), tuple(map(str, described["unknown"]))
            if len(header) + HASH_BYTES * texts != path.stat().st_size:
                raise ValueError(f"it must have {texts:,} hashes")
        except (OSError, ValueError, KeyError, TypeError) as problem:
            raise error(f"{path} is not a list of training texts: {problem}; make its folder again") from None
        hashes = np.memmap(path, "<u8", "r", offset=len(header), shape=(texts,)) if texts else _none()
        return cls(hashes, unknown)

    @classmethod
    def read(cls, folder: Path, file: SeenFile, error: type[OsparseError] = InputError) -> SeenTexts:
        """:meth:`open` of the file that a description in ``folder`` lists; raises ``error`` if it is another one."""
        path = folder / file.name
        if not path.is_file() or sha256_file(path) != file.sha256:
            raise error(
                f"{path} is missing or was changed: its sha256 is not {file.sha256[:12]}..; make {folder} again"
            )
        return cls.open(path, error)

    def __len__(self) -> int:
        return len(self.hashes)

    def write(self, folder: Path) -> SeenFile:
        """Write :data:`SEEN` into ``folder``."""
        line = canonical_json({"texts": len(self), "unknown": list(self.unknown)}).encode()
        padding = -(len(line) + 1) % HASH_BYTES
        path = folder / SEEN
        with path.open("wb") as file:
            file.write(line + b" " * padding + b"\n")
            self.hashes.astype("<u8", copy=False).tofile(file)
        return SeenFile(SEEN, sha256_file(path), path.stat().st_size)

    def union(self, *others: SeenTexts) -> SeenTexts:
        hashes = [part.hashes for part in (self, *others)]
        unknown = {name for part in (self, *others) for name in part.unknown}
        return SeenTexts(np.unique(np.concatenate(hashes)), tuple(sorted(unknown)))

    def holds(self, kind: Kind, texts: Sequence[str]) -> NDArray[np.bool_]:
        """(n,) whether each text was learnt from as a document or as a query."""
        asked = np.array([text_hash(kind, text) for text in texts], np.uint64)
        places = np.searchsorted(self.hashes, asked)
        inside = places < len(self.hashes)
        found = np.zeros(len(asked), np.bool_)
        found[inside] = self.hashes[places[inside]] == asked[inside]
        return found

    def false_positives(self, texts: int) -> float:
        """Expected number among ``texts`` unknown texts that :meth:`holds` calls known: texts x hashes / 2^64."""
        return texts * len(self) / 2.0 ** (8 * HASH_BYTES)


def text_hash(kind: Kind, text: str) -> int:
    """64-bit hash of a text, whatever its case, its spaces and the way its characters are composed."""
    content = " ".join(normalised(text).split()).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(content, digest_size=HASH_BYTES, person=kind.encode()).digest(), "little")


def _none() -> NDArray[np.uint64]:
    return np.zeros(0, np.uint64)
