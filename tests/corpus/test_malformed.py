"""Broken sources: each stops the build with the place and the reason, and leaves nothing."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from sample_topics import topic
from source_samples import page, squad, wiki_dump

from osparse.contracts.dataset import Dataset
from osparse.corpus.builder.build import Input, build_dataset, build_from
from osparse.errors import DatasetError, InputError
from osparse.io import streams
from osparse.rows.json_stream import json_items

PAGES = [page(i, topic(i, "ko")[0], topic(i, "ko")[1]) for i in range(1, 200)]
DUMP = wiki_dump(PAGES)
ROWS = b"".join(
    json.dumps({"query": topic(i, "ko")[0], "pos": [topic(i, "ko")[1]]}).encode() + b"\n" for i in range(300)
)
HTML = b"<!DOCTYPE html>\n<html><body>403 Forbidden</body></html>"


@pytest.mark.parametrize(
    ("source", "name", "content", "message"),
    [
        ("wikipedia", "cut.xml.bz2", DUMP[:-30], r"the bzip2 data is cut off or damaged near byte [\d,]+ of"),
        ("wikipedia", "half.xml.bz2", DUMP[: len(DUMP) // 2], r"the bzip2 data is cut off or damaged near byte"),
        ("wikipedia", "notail.xml", bz2.decompress(DUMP)[:-13], r"notail.xml:\d+: broken XML at column \d+: no element found"),
        ("wikipedia", "html.xml.bz2", HTML, "html.xml.bz2:1: this is an HTML page, not data"),
        ("wikipedia", "rss.xml", b"<rss></rss>", "rss.xml:1: not a MediaWiki export: it begins with <rss>"),
        ("wikipedia", "latin.xml", bz2.decompress(DUMP).replace("빵".encode(), b"\xff\xfe", 1), r"latin.xml:\d+: broken XML"),
        ("wikipedia", "empty.xml.bz2", b"", r"empty.xml.bz2 is empty \(0 bytes\)"),
        ("wikipedia", "none.xml", wiki_dump([]), "source wikipedia kept 0 of 0 rows"),
        ("wikipedia", "redirects.xml", wiki_dump([page(1, "a", "#REDIRECT [[b]]")]), r"kept 0 of 1 rows \(1 redirect\)"),
        ("wikipedia", "twice.xml", wiki_dump([*PAGES, PAGES[0]]), r"the id 'wiki:ko:1' was used before, at page 1 '전차|at page 1"),
        ("jsonl", "cut.jsonl.gz", gzip.compress(ROWS)[:-200], "the gzip data is cut off or damaged near byte"),
        ("jsonl", "cut.jsonl.xz", lzma.compress(ROWS)[:-20], "the xz data is cut off or damaged near byte"),
        ("jsonl", "damaged.jsonl.gz", gzip.compress(ROWS).replace(gzip.compress(ROWS)[200:260], b"\0" * 60), "gzip data is cut off or dam"),
        ("jsonl", "html.jsonl", HTML, "html.jsonl:1: this is an HTML page"),
        ("s2orc", "bad.jsonl", b'["one", "two"]\n["one"]\n', "bad.jsonl:2: must have title and abstract, or be an array of two texts"),
        ("s2orc", "keys.jsonl", b'{"title": "t"}\n', r"keys.jsonl:1: must have title and abstract.*found \['title'\]"),
        ("s2orc", "cut.jsonl", b'["one", "tw', "cut.jsonl:1: not JSON"),
        ("wikianswers", "qa.jsonl", b'{"question": "q", "answer": "a"}\n', "qa.jsonl:1: must be .*set.*found"),
        ("gooaq", "keys.jsonl", b'{"q": "x", "a": "y"}\n', "keys.jsonl:1: must have question and answer"),
        ("gooaq", "all.jsonl", b'{"question": "x", "answer": null}\n', r"kept 0 of 1 rows \(1 no answer\)"),
        ("squad", "nodata.json", b'{"version": "1"}', "nodata.json: it has no 'data'"),
        ("squad", "keys.json", b'{"data": [{"title": "t"}]}', "keys.json:1: paragraphs must be a list of objects"),
        ("squad", "cut.json", json.dumps(squad(5)).encode()[:-40], "cut.json:1: not JSON"),
        ("squad", "latin.json", '{"data": [{"title": "é"}]}'.encode("latin-1"), "latin.json:1: not UTF-8: byte 0xe9 at position 21"),
        ("namuwiki", "object.json", b'{"title": "t"}', "object.json:1: not the expected JSON: '{' .*'\\['"),
        ("namuwiki", "keys.json", b'[{"namespace": "0", "document": "x"}]', "keys.json:1: a NamuWiki row needs title and text"),
        ("modu", "keys.json", b'{"document": [{"id": "x"}]}', "keys.json:1: a document needs id, metadata and a list paragraph"),
        ("parquet", "cut.parquet", b"PAR1" + b"\0" * 99, "cut.parquet: not a whole Parquet or Arrow file, after row 0"),
        ("msmarco", "triples.tsv", b"one\ttwo\n", "triples.tsv:1: must have 3 cells between tabs"),
        ("msmarco", "error.tsv", b"<html>no such key</html>", "error.tsv:1: this is an HTML page"),
        ("hf", "folder.json", b"{}", "was not made by save_to_disk"),
    ],
)  # fmt: skip
def test_a_broken_file_is_named_with_place_and_reason(
    source: str, name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    options = {"min_characters": "20"} if source == "wikipedia" else {}
    with pytest.raises(DatasetError, match=message):
        build_dataset(source, [tmp_path / name], tmp_path / "dataset", options=options)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_an_endless_line_is_not_read_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MAX_LINE", 100_000)
    with gzip.open(tmp_path / "long.jsonl.gz", "wb", 1) as file:
        file.write(ROWS[: ROWS.index(b"\n") + 1])
        file.write(b'{"query": "' + b"a" * 200_000)
    line = ROWS.index(b"\n") + 1
    message = f"long.jsonl.gz:2: a line of more than 100,000 bytes, beginning at byte {line}"
    with pytest.raises(DatasetError, match=message):
        build_dataset("jsonl", [tmp_path / "long.jsonl.gz"], tmp_path / "dataset")


def test_json_items_do_not_depend_on_where_the_window_ends(tmp_path: Path) -> None:
    items: list[dict[str, Any]] = [{"n": i, "text": "빵🍞" * (i % 7), "deep": [[{"x": -1.5e3}]]} for i in range(40)]
    path = tmp_path / "rows.json"
    whole = {"a": {"data": 1}, "data": items, "z": 12345}
    path.write_text(json.dumps(whole, ensure_ascii=False, indent=2), encoding="utf-8")
    lines = path.read_text(encoding="utf-8").split("\n")
    for size in (1, 2, 3, 7, 64, 100_000):
        found = list(json_items(path, "data", chunk=size))
        assert [item for _, item in found] == items
        numbers = [int(where.rpartition(":")[2]) for where, _ in found]
        assert all(lines[number - 1].strip() == "{" for number in numbers) and len(set(numbers)) == 40


def test_finished_files_are_not_read_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    good, bad = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    good.write_text(json.dumps(["a title", "an abstract"]) + "\n")
    bad.write_text(json.dumps(["another title", "another abstract"]) + "\n{\n")
    with pytest.raises(DatasetError, match="b.jsonl:2: not JSON"):
        build_dataset("s2orc", [good, bad], tmp_path / "dataset")
    assert not (tmp_path / "dataset").exists() and (tmp_path / ".dataset.parts").is_dir()
    bad.write_text(json.dumps(["another title", "another abstract"]) + "\n")
    with caplog.at_level("INFO"):
        dataset = build_dataset("s2orc", [good, bad], tmp_path / "dataset")
    assert "a.jsonl was read before the last build stopped; it is not read again" in caplog.text
    assert dataset.manifest.sources[0].rows_kept == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "b.jsonl", "dataset"]
    assert build_dataset("s2orc", [good, bad], tmp_path / "again").fingerprint == dataset.fingerprint


def test_several_sources_are_one_dataset(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(ROWS)
    (tmp_path / "dump.xml.bz2").write_bytes(DUMP)
    inputs = [
        Input("jsonl", (tmp_path / "rows.jsonl",)),
        Input("wikipedia", (tmp_path / "dump.xml.bz2",), {"min_characters": "20"}),
    ]
    dataset = build_from(inputs, tmp_path / "dataset")
    assert [(s.name, s.rows_kept) for s in dataset.manifest.sources] == [("jsonl", 300), ("wikipedia", 199)]
    assert dataset.documents.collect().height == 499
    made = (dataset.path / "manifest.json").stat().st_mtime_ns
    assert build_from(inputs, tmp_path / "dataset").fingerprint == Dataset.open(dataset.path).fingerprint
    assert (dataset.path / "manifest.json").stat().st_mtime_ns == made


def test_unknown_and_misspelt_options_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"")
    for options, message in (
        ({"colums": "x"}, "source parquet has no option colums; it has: columns"),
        ({"columns": "query"}, "option columns must be NAME=COLUMN"),
    ):
        with pytest.raises(InputError, match=message):
            build_dataset("parquet", [tmp_path / "a.parquet"], tmp_path / "dataset", options=options)
    with pytest.raises(InputError, match="option min_characters must be a whole number, got 'many'"):
        build_dataset("wikipedia", [tmp_path / "a.parquet"], tmp_path / "dataset", options={"min_characters": "many"})
    pa.parquet.write_table(pa.table({"question": ["q"], "answer": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(
        DatasetError, match=r"a.parquet row 1: none of its columns \(question, answer\) is called text or query"
    ):
        build_dataset("parquet", [tmp_path / "a.parquet"], tmp_path / "dataset")
