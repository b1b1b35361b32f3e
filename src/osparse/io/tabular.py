"""Rows of Parquet and Arrow files, a batch at a time."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osparse.errors import DatasetError
from osparse.io.progress import Bar, progress

if TYPE_CHECKING:
    import polars as pl

BATCH = 1024
_PARQUET, _ARROW, _ARROW_STREAM = b"PAR1", b"ARROW1", b"\xff\xff\xff\xff"


def is_table(path: Path) -> bool:
    """Whether the file is Parquet or Arrow, by its first bytes (an Arrow stream: by its name)."""
    with path.open("rb") as file:
        head = file.read(6)
    return head_of_table(head) and (head[:4] != _ARROW_STREAM or path.suffix == ".arrow")


def head_of_table(head: bytes) -> bool:
    """Whether a file that begins so is Parquet or Arrow."""
    return head.startswith((_PARQUET, _ARROW, _ARROW_STREAM))


def table_rows(
    path: Path,
    *,
    wanted: Callable[[str], bool] = lambda column: True,
    nulls: bool = False,
    bar: bool = True,
    name: str | None = None,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(``path row N``, {column: value}) with dates as ISO text, cut to microseconds, and maps as objects.

    An Arrow stream is in memory as a whole; of the other kinds a few batches are.

    Args:
        wanted: Which columns are read.
        nulls: Keep the columns that a row has no value for, as None.
        bar: Show the progress.
        name: What messages call the file; None takes its path.

    Raises:
        DatasetError: neither Parquet nor Arrow, a file that is cut off or damaged, or a value that Python cannot hold.
    """
    number, called = 0, name or str(path)
    with (
        _readable(called, lambda: number),
        progress(f"reading {Path(called).name}", unit="rows") if bar else nullcontext(Bar("", None, "")) as counted,
    ):
        table = _scan(path)
        names = table.collect_schema().names()
        chosen = [name for name in names if wanted(name)]
        # without any column the rows could not be counted
        for batch in table.select(chosen or names[:1]).collect_batches(chunk_size=BATCH, maintain_order=True):
            for row in batch.iter_rows(named=True):
                number += 1
                yield f"{called} row {number}", {c: _plain(row[c]) for c in chosen if nulls or row[c] is not None}
            counted.advance(batch.height)


def table_length(path: Path) -> int:
    """Rows of a Parquet or Arrow file; raises :class:`DatasetError` as :func:`table_rows`."""
    import polars as pl

    with _readable(str(path), lambda: 0):
        return int(_scan(path).select(pl.len()).collect().item())


def _scan(path: Path) -> pl.LazyFrame:
    import polars as pl  # late: searching an index needs no Polars

    with path.open("rb") as file:
        head = file.read(6)
    if not head:
        raise DatasetError(f"{path} is empty (0 bytes); fetch the file again")
    if head.startswith(_PARQUET):
        return pl.scan_parquet(path, glob=False, hive_partitioning=False)
    if head == _ARROW:
        return pl.scan_ipc(path, glob=False, hive_partitioning=False)
    return pl.read_ipc_stream(path).lazy()


@contextmanager
def _readable(name: str, rows: Callable[[], int]) -> Iterator[None]:
    """Turns what Polars raises into a :class:`DatasetError` that names the last of the ``rows`` that was read."""
    import polars as pl

    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as problem:
        raise DatasetError(f"{name}: not a whole Parquet or Arrow file, after row {rows():,}: {problem}") from None
    except (ValueError, KeyError, OverflowError) as problem:
        raise DatasetError(f"{name}: a value after row {rows():,} cannot be read: {problem}; leave it out") from None


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, (datetime.date, datetime.datetime)) else value
