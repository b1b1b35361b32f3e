"""The Arrow writer: the same bytes however the rows arrive."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from osparse.io.tables import BATCH_ROWS, row_batches, write_table

SCHEMA = {"id": pl.String, "score": pl.Float32}


@pytest.mark.parametrize("rows", [0, 1, BATCH_ROWS, BATCH_ROWS + 1, 3 * BATCH_ROWS - 5])
def test_bytes_do_not_depend_on_how_rows_are_chunked(rows: int, tmp_path: Path) -> None:
    whole = pl.DataFrame({"score": range(rows), "id": [f"d{i}" for i in range(rows)]}, schema_overrides=SCHEMA)
    cut = [whole.slice(start, 10_007) for start in range(0, rows, 10_007)]
    pl.concat([whole.head(0), *cut], rechunk=False).write_ipc(tmp_path / "cut.arrow", record_batch_size=777)
    written: list[pl.DataFrame | pl.LazyFrame] = [whole, whole.lazy(), pl.scan_ipc(tmp_path / "cut.arrow")]
    for number, frame in enumerate(written):
        assert write_table(frame, tmp_path / f"{number}.arrow", SCHEMA) == rows
    one, *others = [(tmp_path / f"{number}.arrow").read_bytes() for number in range(len(written))]
    assert all(other == one for other in others)
    assert pl.read_ipc(tmp_path / "0.arrow").equals(whole.select("id", pl.col("score").cast(pl.Float32)))
    with pa.memory_map(str(tmp_path / "0.arrow")) as file:
        batches = pa.ipc.open_file(file)
        sizes = [batches.get_batch(i).num_rows for i in range(batches.num_record_batches)]
    assert all(size == BATCH_ROWS for size in sizes[:-1])


@pytest.mark.parametrize("rows", [0, 1, 7, 4_096, 10_000])
@pytest.mark.parametrize("size", [1, 7, 5_000])
def test_batches_of_rows_are_of_one_size_and_in_order(rows: int, size: int, tmp_path: Path) -> None:
    pl.DataFrame({"n": range(rows), "text": [f"t{i}" for i in range(rows)]}).write_ipc(
        tmp_path / "rows.arrow", record_batch_size=777
    )
    batches = list(row_batches(pl.scan_ipc(tmp_path / "rows.arrow").select("text", "n"), size))
    assert all(len(batch) == size for batch in batches[:-1]) and len(batches) == -(-rows // size)
    assert [row for batch in batches for row in batch] == [(f"t{i}", i) for i in range(rows)]
