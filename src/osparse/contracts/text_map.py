"""Random access to the rows of a dataset's texts: by row from the memory map, by id through a table of hashes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from osparse.errors import DatasetError
from osparse.plugins.extras import require

if TYPE_CHECKING:
    import pyarrow as pa

Hashes = NDArray[np.uint64]
SEEDS = 8
"""Tried before equal hashes count as equal ids."""


class IdIndex:
    """Id -> row of one table, 16 bytes a row: sorted 64-bit hashes under a directory of their first bits.

    A bucket of the directory holds one or two hashes, so a look-up takes the same time whatever the table's size.
    """

    def __init__(self, table: pl.LazyFrame) -> None:
        """Raises :class:`DatasetError` for ids that are not unique."""
        self._seed, self._hashes, self._rows = _distinct_hashes(table.select("id"))
        bits = max(1, len(self._hashes).bit_length() - 1)
        self._shift = np.uint64(64 - bits)
        prefixes = np.arange(1 << bits, dtype=np.uint64) << self._shift
        self._starts = np.append(np.searchsorted(self._hashes, prefixes), len(self._hashes)).astype(np.uint32)

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self, ids: pl.Series) -> NDArray[np.uint32]:
        """(n,) row of each id; raises :class:`DatasetError` naming one that is not in the table.

        An id that is not there is taken for another with probability rows / 2^64.
        """
        wanted = _hashed(ids.to_frame().lazy(), self._seed)
        bucket = (wanted >> self._shift).astype(np.int64)
        at, end = self._starts[bucket].astype(np.int64), self._starts[bucket + 1]
        last = max(len(self._hashes) - 1, 0)
        waiting = np.flatnonzero((at >= end) | (self._hashes[np.minimum(at, last)] != wanted)) if len(self) else at
        while len(waiting):  # as often as the fullest bucket has hashes
            at[waiting] += 1
            lost = waiting[at[waiting] >= end[waiting]]
            if len(lost) or not len(self):
                raise DatasetError(f"there is no {ids[int(lost[0]) if len(lost) else 0]!r} among {len(self):,} ids")
            waiting = waiting[self._hashes[at[waiting]] != wanted[waiting]]
        return self._rows[at]


def _distinct_hashes(ids: pl.LazyFrame) -> tuple[int, Hashes, NDArray[np.uint32]]:
    """(seed, sorted hashes, the row of each) under the first seed that gives every id a hash of its own.

    Two ids share one about once in ten million tables of two million rows.
    """
    for seed in range(SEEDS):
        hashes = _hashed(ids, seed)
        order = np.argsort(hashes, kind="stable")
        ordered = hashes[order]
        if (ordered[1:] != ordered[:-1]).all():
            return seed, ordered, order.astype(np.uint32)
    raise DatasetError("the ids of a table are not unique")


def _hashed(ids: pl.LazyFrame, seed: int) -> Hashes:
    return ids.select(pl.first().hash(seed)).collect(engine="streaming").to_series().to_numpy()


class TextMap:
    """The columns of ``documents.arrow`` or ``queries.arrow`` by row, read from the map when asked for.

    Processes that open the same file share its pages; pickling one passes the path on, not the content.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[type[TextMap], tuple[Path]]:
        return TextMap, (self.path,)

    @cached_property
    def _batches(self) -> tuple[list[pa.RecordBatch], list[int]]:
        arrow = require("pyarrow", "corpus")
        reader = require("pyarrow.ipc", "corpus").open_file(arrow.memory_map(str(self.path)))
        batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
        return batches, [0, *np.cumsum([batch.num_rows for batch in batches]).tolist()]

    @cached_property
    def index(self) -> IdIndex:
        """Built when it is first asked for: about half a second for two million rows."""
        return IdIndex(pl.scan_ipc(self.path))

    def __len__(self) -> int:
        return int(self._batches[1][-1])

    def by_id(self, ids: pl.Series) -> TextsById:
        """The texts of these ids; raises :class:`DatasetError` naming one that is not in the table."""
        return TextsById(self, dict(zip(ids.to_list(), self.index.rows(ids).tolist(), strict=True)))

    def value(self, row: int, column: str = "text") -> Any:
        """One cell; raises :class:`IndexError` beyond the table."""
        batches, starts = self._batches
        if not 0 <= row < starts[-1]:
            raise IndexError(f"row {row} of {starts[-1]}")
        batch = bisect_right(starts, row) - 1
        return batches[batch].column(column)[row - starts[batch]].as_py()

    def of(self, name: str, column: str = "text") -> Any:
        """One cell by id; raises :class:`DatasetError` for an unknown id."""
        return self.value(int(self.index.rows(pl.Series([name]))[0]), column)


class TextsById(Mapping[str, str]):
    """{id: text} of some rows of a map; a text is read from the map each time it is looked up."""

    def __init__(self, texts: TextMap, rows: dict[str, int]) -> None:
        self._texts, self._rows = texts, rows

    def only(self, ids: Iterable[str]) -> TextsById:
        """Some of them."""
        return TextsById(self._texts, {name: self._rows[name] for name in ids})

    def __getitem__(self, name: str) -> str:
        return str(self._texts.value(self._rows[name]))

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)
