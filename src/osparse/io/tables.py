"""Arrow files written the same way every time: fixed batches, one layout, so that equal rows give equal bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 65_536
"""Of every record batch but the last. Random access finds a row's batch by dividing."""
READ_ROWS = 2_048
"""Rows that are made Python objects at a time, at least."""

Schema = Mapping[str, Any]
"""Column -> Polars type."""


def arrow_schema(schema: Schema) -> pa.Schema:
    """The same for pyarrow."""
    import pyarrow as pa  # late: the extras corpus and train install it, and reading needs it not

    types = {
        pl.String: pa.large_string(),
        pl.Date: pa.date32(),
        pl.Float32: pa.float32(),
        pl.UInt32: pa.uint32(),
        pl.Int64: pa.int64(),
        pl.Boolean: pa.bool_(),
    }
    return pa.schema([(name, types[kind]) for name, kind in schema.items()])


def write_table(frame: pl.DataFrame | pl.LazyFrame, path: Path, schema: Schema) -> int:
    """Stream ``frame`` to an uncompressed Arrow IPC file with exactly the columns of ``schema``; returns its rows.

    Polars' own writer cuts batches as its threads happen to run; here they are all :data:`BATCH_ROWS` long, so the
    bytes, hence a dataset's fingerprint, are the same on any machine. A batch is in memory at a time, never the table.
    """
    import pyarrow.ipc

    arrow, rows = arrow_schema(schema), 0
    chosen = frame.lazy().select(pl.col(name).cast(kind) for name, kind in schema.items())
    with pyarrow.ipc.new_file(str(path), arrow) as writer:
        for table in _rebatched(chosen, arrow):
            writer.write_table(table, max_chunksize=BATCH_ROWS)
            rows += table.num_rows
    return rows


def _rebatched(frame: pl.LazyFrame, schema: pa.Schema) -> Iterator[pa.Table]:
    """Tables of a multiple of BATCH_ROWS rows, and the rest."""
    import pyarrow as pa

    waiting = schema.empty_table()
    for part in frame.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True):
        table = part.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(schema)
        waiting = pa.concat_tables([waiting, table])
        whole = waiting.num_rows - waiting.num_rows % BATCH_ROWS
        if whole:
            yield waiting.slice(0, whole).combine_chunks()
            waiting = waiting.slice(whole)
    if waiting.num_rows:
        yield waiting.combine_chunks()


def row_batches(frame: pl.LazyFrame, size: int) -> Iterator[list[tuple[Any, ...]]]:
    """The rows in order, ``size`` at a time (the last may be fewer), by one pass over the source."""
    waiting: list[tuple[Any, ...]] = []
    for part in frame.collect_batches(chunk_size=max(size, READ_ROWS), maintain_order=True):
        for row in part.iter_rows():
            waiting.append(row)
            if len(waiting) == size:
                yield waiting
                waiting = []
    if waiting:
        yield waiting
