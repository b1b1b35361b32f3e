"""What every build keeps to: up to date, made from other inputs, overwrite, and nothing half-written."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import apt_world
import polars as pl
import pytest

from osparse.corpus import build_dataset
from osparse.errors import DatasetError, InputError, OsparseError
from osparse.io.tables import Schema, write_table


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text(
        "".join(json.dumps({"id": str(i), "text": f"text {i}", "title": f"t{i}"}) + "\n" for i in range(40))
    )
    return path


def test_equal_input_equal_bytes(rows: Path, tmp_path: Path) -> None:
    one = build_dataset("jsonl", [rows], tmp_path / "one")
    two = build_dataset("jsonl", [rows], tmp_path / "two")
    for name in [*one.manifest.counts, "manifest.json"]:
        assert (one.path / name).read_bytes() == (two.path / name).read_bytes()


def test_a_second_build_is_up_to_date_and_other_inputs_are_refused(
    rows: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    output = tmp_path / "dataset"
    first = build_dataset("jsonl", [rows], output)
    made = (output / "manifest.json").stat().st_mtime_ns
    with caplog.at_level(logging.INFO):
        assert build_dataset("jsonl", [rows], output).fingerprint == first.fingerprint
    assert f"{output} is up to date" in caplog.text
    assert (output / "manifest.json").stat().st_mtime_ns == made
    with pytest.raises(InputError, match="made from other inputs; replace it with `overwrite=True`"):
        build_dataset("jsonl", [rows], output, seed=1)
    rows.write_text(rows.read_text() + '{"id": "more", "text": "more", "title": "more"}\n')
    with pytest.raises(InputError, match="made from other inputs"):
        build_dataset("jsonl", [rows], output)
    assert build_dataset("jsonl", [rows], output, overwrite=True).fingerprint != first.fingerprint


def test_debian_is_not_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lists = apt_world.write_lists(tmp_path / "lists")
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(apt_world.fake_apt(tmp_path / "bin", lists)), prepend=":")
        first = build_dataset("debian", [], tmp_path / "dataset")
    monkeypatch.setenv("PATH", str(tmp_path))  # no apt any more
    assert build_dataset("debian", [], tmp_path / "dataset").fingerprint == first.fingerprint
    with pytest.raises(DatasetError, match="apt-get"):
        build_dataset("debian", [], tmp_path / "dataset", overwrite=True)


def test_a_folder_that_is_no_dataset_is_not_replaced(rows: Path, tmp_path: Path) -> None:
    output = tmp_path / "mine"
    output.mkdir()
    assert build_dataset("jsonl", [rows], output).path == output
    (output / "manifest.json").unlink()
    with pytest.raises(DatasetError, match="is not a dataset"):
        build_dataset("jsonl", [rows], output)
    with pytest.raises(InputError, match="holds something else .*no manifest.json"):
        build_dataset("jsonl", [rows], output, overwrite=True)
    assert (output / "documents.arrow").is_file()


def test_unknown_source_and_missing_path(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown source 'wiki'; known: debian, wikipedia, .*jsonl"):
        build_dataset("wiki", [], tmp_path / "dataset")
    with pytest.raises(DatasetError, match="source jsonl needs `paths`"):
        build_dataset("jsonl", [], tmp_path / "dataset")


def test_a_full_disk_is_one_sentence_and_leaves_nothing(
    rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = write_table

    def full(frame: pl.LazyFrame, file: Path, schema: Schema) -> int:
        return write(frame, file if "qrels" not in file.name else Path("/dev/full"), schema)

    monkeypatch.setattr("osparse.contracts.dataset.write_table", full)
    with pytest.raises(OsparseError, match="cannot write .*dataset: .*No space left on device"):
        build_dataset("jsonl", [rows], tmp_path / "dataset")
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]
