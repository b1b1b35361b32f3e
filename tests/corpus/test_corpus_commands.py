"""The commands, from arguments to what is printed and the exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from osparse.cli.main import main
from osparse.contracts.dataset import Dataset
from osparse.corpus.sources.readers import READERS
from osparse.io.files import sha256_file


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return int(stopped.value.code or 0)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    found = [
        {"id": f"{i}:{lang}", "text": text, "title": title, "group": f"g{i}"}
        for i in range(60)
        for lang, title, text in (("ko", f"제목 {i}", f"본문 글 {i}"), ("en", f"title {i}", f"body text {i}"))
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in found))
    return path


def test_the_road_from_rows_to_weights(rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset, tokenizer, idf = tmp_path / "dataset", tmp_path / "tokenizer", tmp_path / "idf.json"
    assert run("corpus", "build", "--source", "jsonl", rows, "--output", dataset) == 0
    assert "jsonl: 120 of 120 rows kept" in capsys.readouterr().out
    assert run("corpus", "tokenizer", dataset, "--output", tokenizer, "--vocab-size", 200) == 0
    assert "test/ko: 0.000% unknown" in capsys.readouterr().out
    assert run("corpus", "tokenizer", dataset, "--output", tmp_path / "large", "--vocab-size", 9000) == 0
    assert "tokens, fewer than the 9,000 asked for: its texts hold no more pieces" in capsys.readouterr().out
    assert run("idf", dataset, "--tokenizer", tokenizer, "--output", idf, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["path"] == str(idf)
    assert 0 < result["lowest"] < result["highest"]
    for again in (
        ("corpus", "build", "--source", "jsonl", rows, "--output", dataset),
        ("corpus", "tokenizer", dataset, "--output", tokenizer, "--vocab-size", 200),
        ("idf", dataset, "--tokenizer", tokenizer, "--output", idf),
    ):
        assert run(*again) == 0
        assert "is up to date" in capsys.readouterr().err


def test_stats_print_or_json_and_fail_on_overlap(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "dataset"
    run("corpus", "build", "--source", "jsonl", rows, "--output", path)
    capsys.readouterr()
    assert run("corpus", "stats", path) == 0
    assert "shared by train and test: 0 groups, 0 queries, 0 relevant texts" in capsys.readouterr().out
    _leak(Dataset.open(path))
    assert run("corpus", "stats", path, "--json") == 3
    printed = capsys.readouterr()
    result = json.loads(printed.out)  # one document, though the check failed
    assert result["overlap"]["train and test"]["groups"] == 1
    assert result["exit_code"] == 3 and "1 groups are in more than one split" in result["error"]
    assert printed.err.count("groups are in more than one split") == 1
    assert run("corpus", "stats", path) == 3
    assert "shared by train and test: 1 groups" in capsys.readouterr().out


def _leak(dataset: Dataset) -> None:
    """Judge a training query on a test document, behind the back of the builder."""
    test = dataset.qrels("test").head(1).collect()["document_id"]
    file = dataset.path / "qrels.train.arrow"
    changed = pl.scan_ipc(file).collect()
    changed = changed.with_columns(
        document_id=pl.when(pl.int_range(pl.len()) == 0).then(pl.lit(test[0])).otherwise("document_id")
    )
    file.unlink()
    changed.write_ipc(file, compression="uncompressed")
    manifest = json.loads((dataset.path / "manifest.json").read_text(encoding="utf-8"))
    manifest["sha256"][file.name] = sha256_file(file)
    (dataset.path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("corpus", "stats", "nowhere"), "nowhere is not a dataset: it has no manifest.json"),
        (("corpus", "build", "--source", "jsonl", "nowhere", "--output", "out"), "nowhere does not exist"),
        (("corpus", "build", "--source", "jsonl", "--output", "out"), "source jsonl needs PATHS"),
        (("corpus", "build", "--source", "beir", ".", "--output", "out"), "is not a BEIR folder"),
        (
            ("corpus", "build", "--source", "wiki", "--output", "out"),
            "unknown source 'wiki'; known: debian, wikipedia, namuwiki",
        ),
        (
            ("idf", "nowhere", "--tokenizer", ".", "--output", "idf.json"),
            "nowhere does not exist; give one dataset directory, or files",
        ),
        (("idf", ".", "--tokenizer", ".", "--output", "idf.json"), ". is not a dataset"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    arguments: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


def test_sources_with_paths_and_options(rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "pairs.jsonl"
    other.write_text("".join(json.dumps([f"title of {i}", f"abstract of {i}"]) + "\n" for i in range(40)))
    arguments = ("--source", f"jsonl={rows}", "--source", f"s2orc={other}", "--output", tmp_path / "both")
    assert run("corpus", "build", *arguments) == 0
    printed = capsys.readouterr().out
    assert "jsonl: 120 of 120 rows kept" in printed and "s2orc: 40 of 40 rows kept" in printed
    assert run("corpus", "build", *arguments, rows) == 2
    assert "with several sources give each its path" in capsys.readouterr().err
    assert run("corpus", "build", "--source", "s2orc", other, "--option", "x", "--output", tmp_path / "o") == 2
    assert "--option must be of the form NAME=VALUE, got 'x'" in capsys.readouterr().err


def test_a_file_for_another_reader_is_answered_with_the_flag(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "faq.csv").write_text("query,pos,note\nq,a,n\n")
    assert run("corpus", "build", "--source", "jsonl", tmp_path / "faq.csv", "--output", tmp_path / "d") == 2
    assert "looks like CSV with the columns query, pos, note; read it with --source csv" in capsys.readouterr().err
    arguments = ("--source", "csv", tmp_path / "faq.csv", "--lang", "de", "--output", tmp_path / "d", "--json")
    assert run("corpus", "build", *arguments) == 0
    assert json.loads(capsys.readouterr().out)["ignored_columns"] == {"csv": ["note"]}
    assert Dataset.open(tmp_path / "d").documents.collect()["lang"].to_list() == ["de"]
    assert run("corpus", "build", *arguments[:3], "--output", tmp_path / "d") == 2
    assert "made from other inputs; replace it with --overwrite, or write another --output" in capsys.readouterr().err


def test_the_help_of_build_names_every_reader_and_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("corpus", "build", "--help") == 0
    printed = capsys.readouterr().out
    for name, reader in READERS.items():
        assert f"\n  {name} " in printed
        assert all(option in printed for option in reader.options)


def test_every_command_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (("corpus", "build"), ("corpus", "stats"), ("corpus", "tokenizer"), ("idf",)):
        assert run(*command, "--help") == 0
        assert f"osparse {' '.join(command)} data/" in capsys.readouterr().out.replace("--source debian --output ", "")


def test_no_command_of_the_room_imports_torch(rows: Path, tmp_path: Path) -> None:
    code = (
        "import sys; import osparse.corpus as c; from osparse.contracts.dataset import Dataset;"
        f"d = c.build_dataset('jsonl', [{str(rows)!r}], {str(tmp_path / 'd')!r});"
        f"t = c.train_tokenizer(d, {str(tmp_path / 't')!r}, vocab_size=200);"
        f"c.compute_idf(d, t.path, {str(tmp_path / 'idf.json')!r}); c.dataset_stats(d);"
        "print([m for m in ('torch', 'transformers', 'pandas') if m in sys.modules])"
    )
    done: Any = subprocess.run([sys.executable, "-c", code], env=os.environ, text=True, capture_output=True, check=True)
    assert done.stdout.strip() == "[]"
