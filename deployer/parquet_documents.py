"""Rows of a Parquet file with every column it has, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osparse.errors import InputError

if TYPE_CHECKING:
    import pyarrow

READ_ROWS = 2_000
"""Rows in memory at once."""


def parquet_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, row) of every row; maps are objects, times finer than microseconds are cut to them.

    Raises:
        InputError: not a Parquet file, or a column of a type that has no Python value.
    """
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            schema = pyarrow.schema([field.with_type(_coarser(field.type)) for field in file.schema_arrow])
            start = 0
            for batch in file.iter_batches(batch_size=READ_ROWS):
                rows = batch.cast(schema, safe=False).to_pylist(maps_as_pydicts="strict")
                yield from ((f"{path} row {start + i}", row) for i, row in enumerate(rows))
                start += batch.num_rows
    except pyarrow.ArrowInvalid as problem:
        raise InputError(f"{path} is not a Parquet file: {problem}") from None
    except (pyarrow.ArrowException, ValueError, KeyError) as problem:
        raise InputError(f"{path} has a column that cannot be read: {problem}; leave it out of the file") from None


def _coarser(kind: pyarrow.DataType) -> pyarrow.DataType:
    """The type without nanoseconds, which Python's own times do not have."""
    import pyarrow

    if pyarrow.types.is_timestamp(kind) and kind.unit == "ns":
        return pyarrow.timestamp("us", kind.tz)
    if pyarrow.types.is_time64(kind):
        return pyarrow.time64("us")
    if pyarrow.types.is_duration(kind) and kind.unit == "ns":
        return pyarrow.duration("us")
    if pyarrow.types.is_struct(kind):
        fields = [kind.field(i) for i in range(kind.num_fields)]
        return pyarrow.struct([field.with_type(_coarser(field.type)) for field in fields])
    if pyarrow.types.is_list(kind):
        return pyarrow.list_(kind.value_field.with_type(_coarser(kind.value_type)))
    return kind
