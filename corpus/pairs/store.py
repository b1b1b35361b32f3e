"""Training examples out of one dataset or several, chosen on the fly and looked up in the memory maps.

    store = Store.open([
        Selection(dataset, relabel=1.0),
        Selection(dataset, table="candidates", origins=("mined",), top_k=30, random_k=7),
        Selection(other, min_score=2, queries=500_000, where=pl.col("lang") == "ko"),
    ], cache=Path("build/store"))
    example = store[0]        # its query and documents, with labels and scores

Examples are row numbers of the maps until they are read. What a selection chooses is kept in the cache by
the fingerprints of its dataset and settings, so changing one selection leaves the others, and copies no text. After
Trove's MaterializedQRel (arXiv 2511.01857).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osparse.contracts.dataset import Dataset
from osparse.contracts.text_map import TextMap
from osparse.corpus.pairs.selection import Rows, Selection, materialise
from osparse.errors import ConfigError
from osparse.io.files import fingerprint


@dataclass(frozen=True)
class ExampleDocument:
    """One document of an example."""

    id: str
    text: str
    label: float
    """NaN where it is unknown."""
    score: float
    """NaN where nothing scored it."""


@dataclass(frozen=True)
class Example:
    """One query with all its documents, in the order of the selections."""

    query_id: str
    query: str
    documents: list[ExampleDocument]


@dataclass(frozen=True, eq=False)
class Store:
    """A sequence of examples; picklable, so that worker processes open the same maps."""

    datasets: tuple[Path, ...]
    """Of the examples, by number."""
    queries: tuple[TextMap, ...]
    documents: tuple[TextMap, ...]
    owner: NDArray[np.uint8]
    """(E,) number of each example's dataset."""
    query_rows: NDArray[np.uint32]
    """(E,)"""
    starts: NDArray[np.int64]
    """(E + 1,) example i owns the rows starts[i]:starts[i + 1] of the three arrays below."""
    document_rows: NDArray[np.uint32]
    labels: NDArray[np.float32]
    scores: NDArray[np.float32]

    @classmethod
    def open(cls, selections: Sequence[Selection], *, cache: Path) -> Store:
        """Combine the selections; of two rows about one query and document the earlier selection's stays.

        Raises:
            ConfigError: settings that cannot be, all of them; DatasetError: a split or candidates that are not there.
        """
        problems = [problem for number, selection in enumerate(selections) for problem in selection.problems(number)]
        if not selections:
            problems.append("selections: none given")
        if problems:
            raise ConfigError("store", problems)
        datasets = {selection.dataset.fingerprint: selection.dataset for selection in reversed(selections)}
        keys = list(dict.fromkeys(selection.dataset.fingerprint for selection in selections))
        maps = {key: _maps(datasets[key]) for key in keys}
        parts = [
            [
                materialise(selection, *maps[key], cache)
                for selection in selections
                if selection.dataset.fingerprint == key
            ]
            for key in keys
        ]
        merged = [_merged(part) for part in parts]
        return cls(
            datasets=tuple(datasets[key].path for key in keys),
            queries=tuple(maps[key][0] for key in keys),
            documents=tuple(maps[key][1] for key in keys),
            owner=np.repeat(np.arange(len(keys), dtype=np.uint8), [len(rows.queries) for rows in merged]),
            query_rows=_joined([rows.queries for rows in merged]),
            starts=_starts(merged),
            document_rows=_joined([rows.documents for rows in merged]),
            labels=_joined([rows.labels for rows in merged]),
            scores=_joined([rows.scores for rows in merged]),
        )

    def __len__(self) -> int:
        return len(self.query_rows)

    def __getitem__(self, number: int) -> Example:
        if not 0 <= number < len(self):
            raise IndexError(f"example {number} of {len(self)}")
        own = int(self.owner[number])
        queries, documents, row = self.queries[own], self.documents[own], int(self.query_rows[number])
        found = [
            ExampleDocument(documents.value(document, "id"), documents.value(document), label, score)
            for document, label, score in zip(*self._part(number), strict=True)
        ]
        return Example(queries.value(row, "id"), queries.value(row), found)

    def __iter__(self) -> Iterator[Example]:
        return (self[number] for number in range(len(self)))

    def _part(self, number: int) -> tuple[list[int], list[float], list[float]]:
        part = slice(int(self.starts[number]), int(self.starts[number + 1]))
        return self.document_rows[part].tolist(), self.labels[part].tolist(), self.scores[part].tolist()

    def fingerprint(self) -> str:
        """Of the chosen rows and where they lie."""
        arrays: list[Any] = [self.owner, self.query_rows, self.starts, self.document_rows, self.labels, self.scores]
        return fingerprint([hash_of(array) for array in arrays])


def hash_of(array: NDArray[Any]) -> str:
    import hashlib

    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def _maps(dataset: Dataset) -> tuple[TextMap, TextMap]:
    return TextMap(dataset.path / "queries.arrow"), TextMap(dataset.path / "documents.arrow")


def _joined(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """One array as it is (in its map), several one after another."""
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _starts(parts: Sequence[Rows]) -> NDArray[np.int64]:
    if len(parts) == 1:
        return parts[0].starts
    ends = np.cumsum([len(rows.documents) for rows in parts])
    shifted = [rows.starts[:-1] + end - len(rows.documents) for rows, end in zip(parts, ends, strict=True)]
    return np.concatenate([*shifted, ends[-1:]])


def _merged(parts: Sequence[Rows]) -> Rows:
    """Selections of one dataset by query; rows of a query in the selections' order, none twice."""
    if len(parts) == 1:
        return parts[0]
    queries = np.concatenate([np.repeat(rows.queries, np.diff(rows.starts)) for rows in parts])
    documents = np.concatenate([rows.documents for rows in parts])
    pairs = (queries.astype(np.uint64) << np.uint64(32)) | documents
    _, first = np.unique(pairs, return_index=True)
    first.sort()
    order = first[np.argsort(queries[first], kind="stable")]
    found, counts = np.unique(queries[order], return_counts=True)
    return Rows(
        queries=found,
        starts=np.append(0, np.cumsum(counts)),
        documents=documents[order],
        labels=np.concatenate([rows.labels for rows in parts])[order],
        scores=np.concatenate([rows.scores for rows in parts])[order],
    )
