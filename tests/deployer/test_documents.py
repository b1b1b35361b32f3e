"""Reading documents: three kinds of source, one result; every bad row named."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from osparse.dataset import Dataset
from osparse.deployer.documents import Document, Unusable, count_documents, read_documents
from osparse.errors import InputError

ROWS = [
    {"id": "a", "text": "첫째", "title": "하나", "lang": "ko", "date": "2024-01-02", "source": "s", "extra": 1},
    {"id": "b", "text": ""},
]
FIELDS = [{"text": "첫째", "title": "하나", "lang": "ko", "date": "2024-01-02", "source": "s"}, {"text": ""}]


def write_jsonl(path: Path, rows: list[object]) -> Path:
    path.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), encoding="utf-8")
    return path


def test_jsonl_and_parquet_read_alike(tmp_path: Path) -> None:
    jsonl = write_jsonl(tmp_path / "d.jsonl", ROWS)
    parquet = tmp_path / "d.parquet"
    pl.DataFrame(ROWS).with_columns(pl.col("date").str.to_date()).write_parquet(parquet)
    for path in (jsonl, parquet):
        found = list(read_documents([path]))
        assert [d.fields for d in found if isinstance(d, Document)] == FIELDS
        assert count_documents([path]) == 2
    one, other = ([d.hash for d in read_documents([p]) if isinstance(d, Document)] for p in (jsonl, parquet))
    assert one == other and len(set(one)) == 2


def test_a_dataset_directory(dataset: Dataset) -> None:
    found = list(read_documents([dataset.path]))
    assert [d.id for d in found] == dataset.documents.select("id").collect()["id"].to_list()
    assert count_documents([dataset.path, dataset.path]) == 2 * len(found)


def test_a_bad_row_is_told_with_its_place_and_the_others_go_on(tmp_path: Path) -> None:
    rows = [
        {"text": "no id"},
        {"id": 7, "text": "x"},
        {"id": "c"},
        {"id": "d", "text": "x", "lang": 1},
        {"id": "é" * 300, "text": ""},
    ]
    found = list(read_documents([write_jsonl(tmp_path / "d.jsonl", rows)]))
    assert [type(row) for row in found] == [Unusable, Document, Unusable, Unusable, Unusable]
    reasons = [row.reason for row in found if isinstance(row, Unusable)]
    assert found[1].id == "7" and "d.jsonl:1: id must be" in reasons[0] and "lang" in reasons[2]


@pytest.mark.parametrize("value", [float("nan"), b"2024", True, 1.5, [2024]])
def test_a_date_that_is_none_makes_its_row_unusable(value: object, tmp_path: Path) -> None:
    path = tmp_path / "d.parquet"
    pl.DataFrame({"id": ["a"], "text": ["x"], "date": [value]}).write_parquet(path)
    (row,) = read_documents([path])
    assert isinstance(row, Unusable) and row.id == "a" and "date must be a date, a text or whole milli" in row.reason


def test_milliseconds_are_a_date(tmp_path: Path) -> None:
    (row,) = read_documents([write_jsonl(tmp_path / "d.jsonl", [{"id": "a", "text": "x", "date": 1704067200000}])])
    assert isinstance(row, Document) and row.fields["date"] == 1704067200000


def test_what_cannot_be_read(tmp_path: Path) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"id": "a", "text": "x"}\n{"id": "b"\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"broken.jsonl:2: not JSON"):
        list(read_documents([broken]))
    with pytest.raises(InputError, match="does not exist"):
        count_documents([tmp_path / "none.jsonl"])
    with pytest.raises(InputError, match="is a directory without manifest.json"):
        list(read_documents([tmp_path]))
    fake = tmp_path / "fake.parquet"
    fake.write_bytes(b"not parquet")
    with pytest.raises(InputError, match="not a Parquet file"):
        list(read_documents([fake]))
    with pytest.raises(InputError, match="not a Parquet file"):
        count_documents([fake])


def test_reading_is_lazy(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text('{"id": "a", "text": "x"}\nbroken\n', encoding="utf-8")
    assert next(read_documents([path])).id == "a"
