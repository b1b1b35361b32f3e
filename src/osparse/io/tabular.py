"""Rows of Parquet and Arrow files, a batch at a time."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osparse.errors import DatasetError
from osparse.io.progress import Bar, progress

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 1024
_PARQUET, _ARROW = b"PAR1", b"ARROW1"


def is_table(path: Path) -> bool:
    """Whether the file is Parquet or Arrow, by its first bytes (an Arrow stream: by its name)."""
    with path.open("rb") as file:
        head = file.read(6)
    return head.startswith(_PARQUET) or head == _ARROW or (path.suffix == ".arrow" and head[:4] == b"\xff\xff\xff\xff")


def table_rows(
    path: Path, *, wanted: Callable[[str], bool] = lambda column: True, nulls: bool = False, bar: bool = True
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(``path row N``, {column: value}) with dates as ISO text, cut to microseconds, and maps as objects.

    Args:
        wanted: Which columns are read.
        nulls: Keep the columns that a row has no value for, as None.
        bar: Show the progress.

    Raises:
        DatasetError: neither Parquet nor Arrow, a file that is cut off or damaged, or a value that Python cannot hold.
    """
    import pyarrow as pa  # late: asking an index needs no Arrow

    number = 0
    try:
        with progress(f"reading {path.name}", unit="rows") if bar else nullcontext(Bar("", None, "")) as counted:
            for batch in _batches(path):
                chosen = _microseconds(batch.select([name for name in batch.schema.names if wanted(name)]))
                for row in chosen.to_pylist(maps_as_pydicts="strict"):
                    number += 1
                    yield f"{path} row {number}", {k: _plain(v) for k, v in row.items() if nulls or v is not None}
                counted.advance(batch.num_rows)
    except (pa.ArrowInvalid, pa.ArrowException, OSError) as problem:
        raise DatasetError(f"{path}: not a whole Parquet or Arrow file, after row {number:,}: {problem}") from None
    except (ValueError, KeyError, OverflowError) as problem:
        raise DatasetError(f"{path}: a value after row {number:,} cannot be read: {problem}; leave it out") from None


def table_length(path: Path) -> int:
    """Rows of a Parquet or Arrow file; raises :class:`DatasetError` as :func:`table_rows`."""
    import pyarrow as pa
    import pyarrow.parquet

    try:
        with path.open("rb") as file:
            if file.read(4) == _PARQUET:
                return int(pa.parquet.read_metadata(path).num_rows)
        return sum(batch.num_rows for batch in _batches(path))
    except (pa.ArrowInvalid, pa.ArrowException, OSError) as problem:
        raise DatasetError(f"{path}: not a whole Parquet or Arrow file: {problem}") from None


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    import pyarrow.ipc
    import pyarrow.parquet

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


def _microseconds(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Times in nanoseconds cut to microseconds, the finest that Python has, within lists and structs too."""
    import pyarrow as pa

    schema = pa.schema([field.with_type(_coarser(field.type)) for field in batch.schema])
    return batch if schema.equals(batch.schema) else batch.cast(schema, safe=False)


def _coarser(kind: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return pa.timestamp("us", kind.tz)
    if pa.types.is_duration(kind) and kind.unit == "ns":
        return pa.duration("us")
    if kind == pa.time64("ns"):
        return pa.time64("us")
    if pa.types.is_list(kind):
        return pa.list_(_coarser(kind.value_type))
    if pa.types.is_large_list(kind):
        return pa.large_list(_coarser(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_coarser(field.type)) for field in kind])
    return kind


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, (datetime.date, datetime.datetime)) else value
