"""Rows of Parquet and Arrow files, a batch at a time."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet

from osparse.errors import DatasetError
from osparse.progress import progress

BATCH = 1024
_PARQUET, _ARROW = b"PAR1", b"ARROW1"


def is_table(path: Path) -> bool:
    """Whether the file is Parquet or Arrow, by its first bytes (an Arrow stream: by its name)."""
    with path.open("rb") as file:
        head = file.read(6)
    return head.startswith(_PARQUET) or head == _ARROW or (path.suffix == ".arrow" and head[:4] == b"\xff\xff\xff\xff")


def table_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(``path row N``, {column: value}) with nulls left out and dates as ISO text.

    Raises:
        DatasetError: neither Parquet nor Arrow, or a file that is cut off or damaged.
    """
    number = 0
    try:
        with progress(f"reading {path.name}", unit="rows") as bar:
            for batch in _batches(path):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path} row {number}", {k: _plain(v) for k, v in row.items() if v is not None}
                bar.advance(batch.num_rows)
    except (pa.ArrowInvalid, pa.ArrowException, OSError) as problem:
        raise DatasetError(f"{path}: not a whole Parquet or Arrow file, after row {number:,}: {problem}") from None


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    with path.open("rb") as file:
        head = file.read(6)
    if not head:
        raise DatasetError(f"{path} is empty (0 bytes); fetch the file again")
    if head.startswith(_PARQUET):
        yield from pa.parquet.ParquetFile(path).iter_batches(BATCH)
        return
    with pa.memory_map(str(path)) as file:
        if head == _ARROW:
            reader = pa.ipc.open_file(file)
            whole = (reader.get_batch(i) for i in range(reader.num_record_batches))
        else:
            whole = iter(pa.ipc.open_stream(file))
        for batch in whole:
            for start in range(0, batch.num_rows, BATCH):
                yield batch.slice(start, BATCH)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, (datetime.date, datetime.datetime)) else value
