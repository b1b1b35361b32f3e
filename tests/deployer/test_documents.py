"""Reading documents: three kinds of source, one result; every bad row named."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest

from osparse.contracts.dataset import Dataset
from osparse.deployer.load.documents import DocumentRow, UnusableRow, count_documents, read_documents
from osparse.errors import InputError

ROWS: list[dict[str, object]] = [
    {"id": "a", "text": "첫째", "title": "하나", "lang": "ko", "date": "2024-01-02", "source": "s", "extra": 1},
    {"id": "b", "text": ""},
]
FIELDS = [
    {"text": "첫째", "title": "하나", "lang": "ko", "date": "2024-01-02", "source": "s", "extra": 1},
    {"text": ""},
]


def write_jsonl(path: Path, rows: Sequence[object]) -> Path:
    path.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), encoding="utf-8")
    return path


def test_jsonl_and_parquet_read_alike(tmp_path: Path) -> None:
    jsonl = write_jsonl(tmp_path / "d.jsonl", [{**dict.fromkeys(ROWS[0]), **row} for row in ROWS])
    parquet = tmp_path / "d.parquet"
    pl.DataFrame(ROWS).with_columns(pl.col("date").str.to_date()).write_parquet(parquet)
    for path in (jsonl, parquet):
        found = list(read_documents([path]))
        assert [d.fields for d in found if isinstance(d, DocumentRow)] == FIELDS
        assert count_documents([path]) == 2
    one, other = ([d.hash for d in read_documents([p]) if isinstance(d, DocumentRow)] for p in (jsonl, parquet))
    assert one == other and len(set(one)) == 2


def test_a_row_keeps_all_its_fields_whatever_their_kind(tmp_path: Path) -> None:
    moment = datetime(2024, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    columns = {
        "id": pa.array(["a", "b"]),
        "text": pa.array(["x", "y"]),
        "brand": pa.array(["Acme", None]),
        "price": pa.array([Decimal("12.50"), Decimal("3.00")]),
        "stock": pa.array([3, 2**53 + 1]),
        "sale": pa.array([True, False]),
        "rating": pa.array([4.5, None]),
        "tags": pa.array([["new", "red"], []]),
        "size": pa.array([{"w": 1, "unit": "cm"}, None]),
        "labels": pa.array([[("ko", "배")], []], type=pa.map_(pa.string(), pa.string())),
        "seen": pa.array([moment, None], type=pa.timestamp("us", tz="UTC")).cast(pa.timestamp("ns", tz="UTC")),
        "days": pa.array([[date(2024, 1, 2)], None]),
        "kind": pa.array(["pear", "plum"]).dictionary_encode(),
        "raw": pa.array([b"\x00\xff", None]),
    }
    parquet = tmp_path / "d.parquet"
    pyarrow.parquet.write_table(pa.table(columns), parquet)
    expected = [
        {"text": "x", "brand": "Acme", "price": 12.5, "stock": 3, "sale": True, "rating": 4.5, "tags": ["new", "red"],
         "size": {"w": 1, "unit": "cm"}, "labels": {"ko": "배"}, "seen": "2024-01-02T03:04:05.678901+00:00",
         "days": ["2024-01-02"], "kind": "pear", "raw": "AP8="},
        {"text": "y", "price": 3, "stock": 2**53 + 1, "sale": False, "tags": [], "labels": {}, "kind": "plum"},
    ]  # fmt: skip
    nulls: list[dict[str, None]] = [{}, dict.fromkeys(("brand", "rating", "size", "seen", "days", "raw"))]
    rows = [{"id": i, **row, **null} for i, row, null in zip("ab", expected, nulls, strict=True)]
    jsonl = write_jsonl(tmp_path / "d.jsonl", rows)
    found = {path: [d for d in read_documents([path]) if isinstance(d, DocumentRow)] for path in (parquet, jsonl)}
    for documents in found.values():
        assert [d.fields for d in documents] == expected
    assert [d.hash for d in found[parquet]] == [d.hash for d in found[jsonl]]
    assert found[parquet][1].cleared == {"brand", "rating", "size", "seen", "days", "raw"}


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("price", float("nan"), "price must be a value of JSON, found nan"),
        ("deep", {"a": [float("inf")]}, "deep must be a value of JSON, found inf"),
        ("osparse_hash", "x", "osparse_hash is a field of osparse's own"),
        ("osparse_hash.x", "x", "osparse_hash.x is a field of osparse's own"),
    ],
)
def test_a_field_that_cannot_be_stored_is_named(field: str, value: object, words: str, tmp_path: Path) -> None:
    path = tmp_path / "d.parquet"
    pyarrow.parquet.write_table(pa.table({"id": ["a", "b"], "text": ["x", "x"], field: [value, None]}), path)
    bad, good = read_documents([path])
    assert isinstance(bad, UnusableRow) and bad.id == "a" and words in bad.reason and isinstance(good, DocumentRow)


def test_a_duration_of_parquet_is_named(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(
        pa.table({"id": ["a"], "text": ["x"], "took": pa.array([1], pa.duration("ns"))}), tmp_path / "d.parquet"
    )
    (row,) = read_documents([tmp_path / "d.parquet"])
    assert isinstance(row, UnusableRow) and "took must be a value of JSON, found a timedelta" in row.reason


def test_every_field_counts_for_the_hash() -> None:
    plain = DocumentRow("a", {"text": "x", "price": 1})
    assert plain.hash != DocumentRow("a", {"text": "x", "price": 2}).hash != DocumentRow("a", {"text": "x"}).hash
    assert plain.hash == DocumentRow("b", {"price": 1, "text": "x"}).hash
    assert plain.hash == "acad6e187da85387113b460de44a190d", "without nulls it is that of the documents stored so far"
    cleared = [DocumentRow("a", plain.fields, frozenset(names)).hash for names in ("", "b", "c", "bc")]
    assert len(set(cleared)) == 4 and cleared[0] == plain.hash


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
    assert [type(row) for row in found] == [UnusableRow, DocumentRow, UnusableRow, UnusableRow, UnusableRow]
    reasons = [row.reason for row in found if isinstance(row, UnusableRow)]
    assert found[1].id == "7" and "d.jsonl:1: id must be" in reasons[0] and "lang" in reasons[2]


@pytest.mark.parametrize("value", [float("nan"), b"2024", True, 1.5, [2024]])
def test_a_date_that_is_none_makes_its_row_unusable(value: object, tmp_path: Path) -> None:
    path = tmp_path / "d.parquet"
    pl.DataFrame({"id": ["a"], "text": ["x"], "date": [value]}).write_parquet(path)
    (row,) = read_documents([path])
    assert isinstance(row, UnusableRow) and row.id == "a" and "date must be a date, a text or whole milli" in row.reason


def test_milliseconds_are_a_date(tmp_path: Path) -> None:
    (row,) = read_documents([write_jsonl(tmp_path / "d.jsonl", [{"id": "a", "text": "x", "date": 1704067200000}])])
    assert isinstance(row, DocumentRow) and row.fields["date"] == 1704067200000


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
