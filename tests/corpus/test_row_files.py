"""One set of rules for rows: the commands of the corpus read every kind of file, and make texts as an index does."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner

from osparse.cli.main import cli
from osparse.contracts.dataset import Dataset
from osparse.contracts.model import Model
from osparse.corpus import build_dataset
from osparse.errors import DatasetError, InputError

ROWS: list[dict[str, Any]] = [
    {"id": str(n), "text": f'pear number {n}, "ripe"\nand juicy', "note": "x" if n % 2 else None} for n in range(30)
]


def as_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps({k: v for k, v in row.items() if k != "note"}) + "\n" for row in rows), "utf-8")
    return path


def as_array(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text(json.dumps([{k: v for k, v in row.items() if k != "note"} for row in rows], indent=1), "utf-8")
    return path


def as_csv(path: Path, rows: list[dict[str, Any]], delimiter: str = ",") -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*rows[0]], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def as_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    pl.DataFrame(rows).write_parquet(path)
    return path


KINDS: dict[str, tuple[str, Callable[[Path, list[dict[str, Any]]], Path]]] = {
    "array": ("jsonl", as_array),
    "csv": ("csv", as_csv),
    "tsv": ("tsv", lambda path, rows: as_csv(path, rows, "\t")),
    "parquet": ("parquet", as_parquet),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_documents_make_the_same_dataset(kind: str, tmp_path: Path) -> None:
    source, write = KINDS[kind]
    plain = build_dataset("jsonl", [as_jsonl(tmp_path / "d.jsonl", ROWS)], tmp_path / "plain")
    other = build_dataset(source, [write(tmp_path / f"d.{kind}", ROWS)], tmp_path / "other")
    columns = ["id", "text", "lang"]
    assert other.documents.select(columns).collect().equals(plain.documents.select(columns).collect())
    assert other.splits == () and len(other.documents.collect()) == 30


@pytest.mark.parametrize("kind", KINDS)
def test_weights_do_not_depend_on_the_kind_of_file(kind: str, model: Model, tmp_path: Path) -> None:
    files = [as_jsonl(tmp_path / "d.jsonl", ROWS), KINDS[kind][1](tmp_path / f"d.{kind}", ROWS)]
    tables = []
    for number, file in enumerate(files):
        output = tmp_path / f"{number}.json"
        shown = CliRunner().invoke(cli, ["idf", str(file), "--tokenizer", str(model.path), "--output", str(output)])
        assert shown.exit_code == 0, shown.output
        tables.append(json.loads(output.read_text()))
    assert tables[0] == tables[1] and len(set(tables[0].values())) > 2


def test_a_pattern_is_its_files(model: Model, tmp_path: Path) -> None:
    whole = as_jsonl(tmp_path / "all.jsonl", ROWS)
    for part in range(3):
        as_csv(tmp_path / f"part-{part}.csv", ROWS[part * 10 : part * 10 + 10])
    texts = [
        build_dataset(source, [tmp_path / pattern], tmp_path / source).documents.collect()["text"].to_list()
        for source, pattern in (("jsonl", whole.name), ("csv", "part-*.csv"))
    ]
    assert texts[0] == texts[1]
    base = ["idf", "--tokenizer", str(model.path), "--output"]
    for output, paths in (("a.json", whole), ("b.json", tmp_path / "part-*.csv")):
        assert CliRunner().invoke(cli, [*base, str(tmp_path / output), str(paths)]).exit_code == 0
    assert json.loads((tmp_path / "a.json").read_text()) == json.loads((tmp_path / "b.json").read_text())
    with pytest.raises(InputError, match="no file fits the pattern"):
        build_dataset("csv", [tmp_path / "none-*.csv"], tmp_path / "none")


def test_an_address_is_copied_and_read(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    fsspec.filesystem("memory").pipe("/corpus/d.csv", as_csv(tmp_path / "d.csv", ROWS).read_bytes())
    remote = build_dataset("csv", ["memory://corpus/d.csv"], tmp_path / "remote")
    local = build_dataset("csv", [tmp_path / "d.csv"], tmp_path / "local")
    assert remote.documents.collect().equals(local.documents.collect())


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_texts_are_made_by_a_template_as_in_an_index(kind: str, model: Model, tmp_path: Path) -> None:
    rows = [{"id": str(n), "name": f"pear {n}", "body": "juicy" if n % 2 else None} for n in range(10)]
    writers = {"jsonl": as_jsonl, "csv": as_csv, "parquet": as_parquet}
    file = writers[kind](tmp_path / f"d.{kind}", rows)
    made = build_dataset(kind, [file], tmp_path / "out", options={"template": r"{name}\n{body}"})
    texts = [f"pear {n}\njuicy" if n % 2 else f"pear {n}" for n in range(10)]
    assert made.documents.collect().sort("id")["text"].to_list() == texts
    joined = as_jsonl(tmp_path / "joined.jsonl", [{"id": str(n), "text": text} for n, text in enumerate(texts)])
    base = ["idf", "--tokenizer", str(model.path), "--output"]
    for output, arguments in (
        ("a", [str(joined)]), ("b", [str(file), "--template", r"{name}\n{body}"]),
        ("c", [str(file), "--text-field", "name", "--text-field", "body"]),
    ):  # fmt: skip
        shown = CliRunner().invoke(cli, [*base, str(tmp_path / f"{output}.json"), *arguments])
        assert shown.exit_code == 0, shown.output
    tables = [json.loads((tmp_path / f"{name}.json").read_text()) for name in "abc"]
    assert tables[0] == tables[1] == tables[2]
    again = CliRunner().invoke(cli, [*base, str(tmp_path / "b.json"), str(file), "--text-field", "name"])
    assert "made from other inputs" in str(again.exception)


def test_what_no_text_can_be_made_of_has_its_place(model: Model, tmp_path: Path) -> None:
    file = as_jsonl(tmp_path / "d.jsonl", [{"id": "1", "name": 1.5}])
    with pytest.raises(DatasetError, match=r"d.jsonl:1: name is part of the text and must be a text or a whole number"):
        build_dataset("jsonl", [file], tmp_path / "out", options={"template": "{name}"})
    shown = CliRunner().invoke(cli, ["idf", str(file), "--tokenizer", str(model.path), "--output", str(tmp_path / "i")])
    assert "d.jsonl:1: text must be a string, found NoneType; the row has id, name" in str(shown.exception)


def test_a_dataset_has_its_texts_already(dataset: Dataset, model: Model, tmp_path: Path) -> None:
    shown = CliRunner().invoke(
        cli,
        [
            "idf",
            str(dataset.path),
            "--text-field",
            "x",
            "--tokenizer",
            str(model.path),
            "--output",
            str(tmp_path / "i"),
        ],
    )
    assert "--text-field and --template are for files" in str(shown.exception)
