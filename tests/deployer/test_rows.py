"""What a row, an id and a file are: one set of rules, whoever reads them."""

from __future__ import annotations

import bz2
import datetime
import gzip
import io
import json
import lzma
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from click.testing import CliRunner
from mlcommons_server import MLCommonsServer

from osparse.cli.main import cli
from osparse.contracts.bundle import Bundle
from osparse.corpus.builder.build import build_dataset
from osparse.deployer import deploy, index_documents
from osparse.deployer.load.documents import (
    DeletionRow,
    DocumentRow,
    UnusableRow,
    count_documents,
    count_removals,
    read_documents,
    read_removals,
)
from osparse.errors import DatasetError, InputError
from osparse.evaluation.beir import read_beir
from osparse.evaluation.measures import open_benchmark
from osparse.io.tabular import table_rows
from osparse.rows.row_rules import RowRules

from .conftest import client

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: bytes(pa.Codec("zstd").compress(data, asbytes=True)),
}


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def ids(path: Path, **names: Any) -> list[str]:
    found = list(read_documents([path], RowRules(**names)))
    assert all(isinstance(row, DocumentRow) for row in found), found
    return [row.id for row in found]


def test_an_id_is_a_text_or_a_whole_number_under_either_name(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"_id": "a", "text": "x"},
        {"_id": 7, "text": "x"},
        {"id": 8, "_id": "other", "text": "x"},
    ]
    rows.append({"id": None, "_id": "b", "text": "x"})
    assert ids(write(tmp_path / "d.jsonl", *rows)) == ["a", "7", "8", "b"]
    wrong_ids: tuple[object, ...] = (1.5, True, "", [1], {})
    for wrong in wrong_ids:
        (row,) = read_documents([write(tmp_path / "w.jsonl", {"id": wrong, "text": "x"})])
        assert isinstance(row, UnusableRow) and f"id must be a text or a whole number, found {wrong!r}" in row.reason


def test_the_fields_may_have_other_names(tmp_path: Path) -> None:
    rows = [{"sku": 5, "body": "growing", "id": "not this"}]
    for path in (write(tmp_path / "d.jsonl", *rows), tmp_path / "d.pq"):
        if path.suffix == ".pq":
            pa.parquet.write_table(pa.Table.from_pylist(rows), path)
        (row,) = read_documents([path], RowRules(id_field="sku", text_field="body"))
        assert isinstance(row, DocumentRow) and row.id == "5"
        assert row.fields == {"text": "growing", "sku": 5, "id": "not this"}
        (row,) = read_documents([path], RowRules(id_field="number", text_field="body"))
        assert (
            isinstance(row, UnusableRow)
            and "number must be a text or a whole number, found None; the row has" in row.reason
        )
        assert "body, id, sku" in row.reason


def test_a_text_of_another_name_does_not_replace_the_rows_own(tmp_path: Path) -> None:
    path = write(tmp_path / "d.jsonl", {"id": 1, "body": "growing", "text": "another"})
    (row,) = read_documents([path], RowRules(text_field="body"))
    assert (
        isinstance(row, UnusableRow) and "body is stored as text, but the row has a text too; rename it" in row.reason
    )


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("name", ["d.jsonl", "no-name"])
def test_compressed_documents_and_ids(name: str, suffix: str, tmp_path: Path) -> None:
    """What is compressed is known by its bytes: the name does not matter."""
    path = tmp_path / (name + (suffix if name == "d.jsonl" else ""))
    path.write_bytes(COMPRESS[suffix](b'{"id": 1, "text": "x"}\n\n{"id": 2, "text": "y"}'))
    assert ids(path) == ["1", "2"] and count_documents([path]) == 2
    assert list(read_removals([path])) == [DeletionRow("1"), DeletionRow("2")] and count_removals([path]) == 2
    path.write_bytes(COMPRESS[suffix](b"one\ntwo\n"))
    assert list(read_removals([path])) == [DeletionRow("one"), DeletionRow("two")]
    path.write_bytes(COMPRESS[suffix](b'{"id": 1, "text": "x"}\n' * 2000)[:-9])
    with pytest.raises(InputError, match="is cut off or damaged"):
        list(read_documents([path]))


@pytest.mark.parametrize("name", ["ids.json", "ids.ndjson", "ids", "ids.jsonl"])
def test_a_list_of_ids_is_json_lines_by_what_it_holds(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / name, {"id": "a", "text": "x"}, {"_id": 5})
    assert list(read_removals([path])) == [DeletionRow("a"), DeletionRow("5")]
    path.write_text('{"id": "a"}\nplain\n')
    with pytest.raises(InputError, match=f"{name}:2: not JSON"):
        list(read_removals([path]))


def test_an_empty_file_holds_no_document(tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").write_bytes(b"")
    assert ids(tmp_path / "none.jsonl") == [] and count_documents([tmp_path / "none.jsonl"]) == 0


@pytest.mark.parametrize("name", ["d.parquet", "d.pq", "d.bin", "d.arrow", "d.ipc"])
def test_tables_are_known_by_what_they_hold(name: str, tmp_path: Path) -> None:
    table, path = pa.table({"id": [1, 2], "text": ["x", "y"], "other": [[1], [2]]}), tmp_path / name
    if name in ("d.arrow", "d.ipc"):
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)
    else:
        pa.parquet.write_table(table, path)
    assert ids(path) == ["1", "2"] and count_documents([path]) == 2


def test_standard_input_and_pipes(
    core: MLCommonsServer, small_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = client(core)
    deploy(small_bundle, cluster, "products")
    data = gzip.compress(b'{"sku": 1, "body": "growing pears"}\n{"sku": 2, "body": "rain"}\n')
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    result = index_documents(
        cluster, "products", [Path("-")], id_field="sku", text_field="body", failures=tmp_path / "f", workers=1
    )
    assert result.indexed == 2 and result.failed == 0
    assert set(core.indices[f"products-{small_bundle.short}"].documents) == {"1", "2"}
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"1\n")))
    assert index_documents(cluster, "products", [], delete=[Path("-")], failures=tmp_path / "f").deleted == 1
    with pytest.raises(InputError, match=r"standard input \(-\) can be read once"):
        index_documents(cluster, "products", [Path("-")], delete=[Path("-")], failures=tmp_path / "f")
    assert count_documents([Path("-")]) is None and count_removals([Path("-")]) is None
    arguments = ["index", "--cluster", core.url, "--index", "products", "--id-field", "sku", "--text-field", "body"]
    shown = CliRunner().invoke(
        cli, [*arguments, "--failures", str(tmp_path / "f"), "-"], input=b'{"sku": 9, "body": "x"}'
    )
    assert shown.exit_code == 0 and "1 documents indexed" in shown.output


def test_a_dataset_is_built_from_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs are read twice, so what can be read once is copied first."""
    data = b'{"query": "q", "pos": ["an answer"]}\n'
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(gzip.compress(data))))
    piped = build_dataset("jsonl", ["-"], tmp_path / "piped")
    (tmp_path / "stdin").write_bytes(data)
    plain = build_dataset("jsonl", [tmp_path / "stdin"], tmp_path / "plain")
    assert piped.documents.collect().equals(plain.documents.collect())


def test_corpus_rows_have_the_same_ids(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"_id": 1, "text": "one", "title": "first"},
        {"_id": "b", "text": "two", "title": "second"},
    ]
    table = tmp_path / "d.parquet"
    pa.parquet.write_table(pa.Table.from_pylist([{**row, "_id": str(row["_id"])} for row in rows]), table)
    for source, path in (("jsonl", write(tmp_path / "d.jsonl", *rows)), ("parquet", table)):
        built = build_dataset(source, [path], tmp_path / source)
        assert built.documents.select("id").collect()["id"].to_list() == ["1", "b"], source


@pytest.mark.parametrize("suffix", ["", *COMPRESS])
def test_a_beir_folder_with_whole_numbers_and_compressed(suffix: str, tmp_path: Path) -> None:
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    rows = b"".join(json.dumps({"_id": i, "text": f"text {i}"}).encode() + b"\n" for i in range(3))
    files = {"corpus.jsonl": rows, "queries.jsonl": rows, "qrels/test.tsv": b"query-id\tcorpus-id\tscore\n0\t1\t1\n"}
    for name, data in files.items():
        (folder / f"{name}{suffix}").write_bytes(COMPRESS.get(suffix, bytes)(data))
    assert read_beir(folder, "test").documents.collect()["id"].to_list() == ["0", "1", "2"]
    assert open_benchmark(folder).sets[0].qrels == {"0": {"1": 1}}
    built = build_dataset("beir", [folder], tmp_path / "out")
    assert sorted(built.documents.collect()["id"].to_list()) == ["0", "1", "2"]
    with pytest.raises(DatasetError, match="has no dev qrels; it has: test;"):
        read_beir(folder, "dev")


NANO = 1_704_164_645_123_456_789


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (pa.timestamp("ns"), NANO, "2024-01-02T03:04:05.123456"),
        (pa.timestamp("ns", "UTC"), NANO, "2024-01-02T03:04:05.123456+00:00"),
        (pa.timestamp("ms"), NANO // 10**6, "2024-01-02T03:04:05.123000"),
        (pa.timestamp("s"), NANO // 10**9, "2024-01-02T03:04:05"),
        (pa.date32(), 19_724, "2024-01-02"),
        (pa.date64(), 19_724 * 86_400_000, "2024-01-02T00:00:00"),  # Polars has no such type
    ],
)
def test_times_of_every_precision(kind: pa.DataType, value: int, text: str, tmp_path: Path) -> None:
    dates = pa.array([value], pa.int32() if kind == pa.date32() else pa.int64()).cast(kind)
    table, path = pa.table({"id": ["a"], "text": ["x"], "title": ["t"], "date": dates}), tmp_path / "d.parquet"
    pa.parquet.write_table(table, path)
    (row,) = read_documents([path])
    assert isinstance(row, DocumentRow) and row.fields["date"] == text
    built = build_dataset("parquet", [path], tmp_path / "out")
    assert built.documents.collect()["date"].to_list() == [datetime.date(2024, 1, 2)]


def test_nanoseconds_within_lists_and_structs_and_other_kinds(tmp_path: Path) -> None:
    kinds = {
        "list": pa.list_(pa.timestamp("ns")),
        "struct": pa.struct([("t", pa.timestamp("ns"))]),
        "time": pa.time64("ns"),
        "duration": pa.duration("ns"),
    }
    values = {"list": [1_001], "struct": {"t": 1_001}, "time": 1_001, "duration": 1_001}
    table = pa.table({name: pa.array([values[name]], kind) for name, kind in kinds.items()})
    pa.parquet.write_table(table, tmp_path / "t.parquet")
    ((_, row),) = table_rows(tmp_path / "t.parquet")
    micro = datetime.datetime(1970, 1, 1, 0, 0, 0, 1)
    assert row == {
        "list": [micro],
        "struct": {"t": micro},
        "time": datetime.time(0, 0, 0, 1),
        "duration": datetime.timedelta(microseconds=1),
    }


def test_a_time_that_python_cannot_hold_is_one_clear_error(tmp_path: Path) -> None:
    far = pa.array([2**60], pa.timestamp("us"))
    pa.parquet.write_table(pa.table({"id": ["a"], "text": ["x"], "date": far}), tmp_path / "t.parquet")
    with pytest.raises(DatasetError, match="t.parquet: a value after row 0 cannot be read"):
        list(read_documents([tmp_path / "t.parquet"]))
