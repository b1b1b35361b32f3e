"""Token ids of a dataset's texts: made once, kept in one array on disk, read through its memory map."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from osparse.contracts.text_map import TextMap
from osparse.io.files import atomic_directory, fingerprint, pretty_json
from osparse.io.progress import progress

Ids = NDArray[np.int64]
CHUNK = 1_000
"""Texts tokenised at a time."""
RECIPE = 1
"""Raised when the same texts would give another file."""


@dataclass(frozen=True, eq=False)
class TokenTable:
    """Token ids of some rows of a table of texts, without special ones."""

    rows: NDArray[np.uint32]
    """(N,) rising."""
    starts: NDArray[np.int64]
    """(N + 1,)"""
    ids: NDArray[np.uint16] | NDArray[np.uint32]
    """Of all rows, one after another."""

    def of(self, row: int) -> Ids:
        """The ids of a row's text, in order; ``row`` must be one of the table's."""
        position = int(np.searchsorted(self.rows, row))
        return self.ids[self.starts[position] : self.starts[position + 1]].astype(np.int64)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(N,)"""
        return np.diff(self.starts)


@dataclass(frozen=True)
class TokenReader:
    """Tokenises tables of texts."""

    tokenizer: Tokenizer
    special_ids: tuple[int, ...]
    vocabulary: int
    """Ids lie below it."""
    cache: Path | None = None
    """Folder for the arrays, so that memory does not grow with the texts; None keeps them in memory."""

    def read(self, texts: TextMap, rows: NDArray[np.uint32]) -> TokenTable:
        """The token ids of the rows, from the cache where the same were read before."""
        rows = np.unique(rows)
        if self.cache is None:
            parts = [*self._chunks(texts, rows)]
            ids = np.concatenate([np.zeros(0, self._kind), *(ids for ids, _ in parts)])
            return TokenTable(rows, _starts([lengths for _, lengths in parts]), ids)
        folder = self.cache / self._name(texts, rows)
        if not (folder / "tokens.json").is_file():
            self._write(texts, rows, folder)
        starts = np.load(folder / "starts.npy")
        ids = np.memmap(folder / "ids", self._kind, "r") if starts[-1] else np.zeros(0, self._kind)
        return TokenTable(rows, starts, ids)

    @property
    def _kind(self) -> type[np.uint16] | type[np.uint32]:
        return np.uint16 if self.vocabulary <= 1 << 16 else np.uint32

    def _name(self, texts: TextMap, rows: NDArray[np.uint32]) -> str:
        """Of the tokenizer, the file of the texts and the rows."""
        file = texts.path.stat()
        of_file = [str(texts.path.resolve()), file.st_size, file.st_mtime_ns]
        of_rows = hashlib.sha256(rows.tobytes()).hexdigest()
        return fingerprint([RECIPE, self.tokenizer.to_str(), list(self.special_ids), of_file, of_rows])[:32]

    def _write(self, texts: TextMap, rows: NDArray[np.uint32], folder: Path) -> None:
        lengths = []
        with (
            atomic_directory(folder, marker="tokens.json", overwrite=True) as temporary,
            progress(f"tokenise {texts.path.stem}", len(rows), "texts") as bar,
        ):
            with (temporary / "ids").open("wb") as file:
                for ids, of_each in self._chunks(texts, rows):
                    ids.tofile(file)
                    lengths.append(of_each)
                    bar.advance(len(of_each))
            np.save(temporary / "starts.npy", _starts(lengths))
            about = {"texts": len(rows), "tokens": int(sum(part.sum() for part in lengths))}
            (temporary / "tokens.json").write_text(pretty_json(about), encoding="utf-8")

    def _chunks(self, texts: TextMap, rows: NDArray[np.uint32]) -> Iterator[tuple[NDArray[np.uint32], Ids]]:
        """Yield (ids of :data:`CHUNK` texts one after another, number of each text's)."""
        special = np.zeros(self.vocabulary, np.bool_)
        special[list(self.special_ids)] = True
        for start in range(0, len(rows), CHUNK):
            chunk = [texts.value(row) for row in rows[start : start + CHUNK].tolist()]
            encoded = [encoding.ids for encoding in self.tokenizer.encode_batch_fast(chunk, False)]
            owner = np.repeat(np.arange(len(encoded)), [len(ids) for ids in encoded])
            ids = np.concatenate([np.zeros(0, np.int64), *(np.array(ids, np.int64) for ids in encoded)])
            ordinary = ~special[ids]
            yield ids[ordinary].astype(self._kind), np.bincount(owner[ordinary], minlength=len(encoded))


def _starts(lengths: list[Ids]) -> NDArray[np.int64]:
    return np.append(0, np.cumsum(np.concatenate([np.zeros(0, np.int64), *lengths]))).astype(np.int64)
