"""idf.json: against the closed form, a naive count, and its own provenance."""

from __future__ import annotations

import datetime
import gzip
import json
import logging
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import world
from click.testing import CliRunner

from osparse.cli.main import cli
from osparse.contracts.dataset import Dataset, save_dataset
from osparse.corpus import Recency, build_dataset, compute_idf
from osparse.corpus.terms.idf import bm25_idf, count_tokens
from osparse.errors import DatasetError, InputError, ModelError
from osparse.formula.lexicon import MIN_WEIGHT, Lexicon, load_tokenizer


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    return world.make_tokenizer(tmp_path / "tokenizer" / "tokenizer.json").parent


def test_the_table_equals_the_formula_on_a_naive_count(dataset: Dataset, tokenizer: Path, tmp_path: Path) -> None:
    lexicon = compute_idf(dataset, tokenizer, tmp_path / "idf.json")
    loaded = load_tokenizer(tokenizer / "tokenizer.json")
    texts = dataset.split_documents("train").collect()["text"].to_list()
    assert len(texts) == 10
    bags = [set(loaded.encode(text, add_special_tokens=False).tokens) for text in texts]
    table = json.loads((tmp_path / "idf.json").read_text(encoding="utf-8"))
    assert set(table) == set(loaded.get_vocab())
    special = {loaded.id_to_token(i) for i in lexicon.special_ids}
    for token, weight in table.items():
        df = sum(token in bag for bag in bags)
        expected = MIN_WEIGHT if token in special else math.log(1 + (10 - df + 0.5) / (df + 0.5))
        assert weight == pytest.approx(expected, rel=1e-6)
    assert max(table.values()) == pytest.approx(math.log1p(10.5 / 0.5), rel=1e-6)


def test_closed_form_known_values() -> None:
    got = bm25_idf(np.array([0, 1, 50, 100]), 100)
    expected = [math.log(1 + 100.5 / 0.5), math.log(1 + 99.5 / 1.5), math.log(2), math.log(1 + 0.5 / 100.5)]
    assert got == pytest.approx(expected, rel=1e-12)
    assert (np.diff(bm25_idf(np.arange(101), 100)) < 0).all()
    assert (bm25_idf(np.arange(101), 100) > 0).all()


def test_a_long_text_counts_to_its_end_and_a_repeated_token_once(tokenizer: Path) -> None:
    file = tokenizer / "tokenizer.json"
    moon = load_tokenizer(file).encode("moon", add_special_tokens=False).ids
    df = count_tokens(file, [(text, None) for text in ("bread " * 3000 + "moon", "moon moon", "")] * 400, 400).df
    assert df[moon].tolist() == [800] * len(moon)
    assert df[[0, 1, 2, 3, 4]].tolist() == [0] * 5


def test_only_the_asked_split_is_read(dataset: Dataset, tokenizer: Path, tmp_path: Path) -> None:
    train = compute_idf(dataset, tokenizer, tmp_path / "train.json")
    test = compute_idf(dataset, tokenizer, tmp_path / "test.json", split="test")
    assert train.version != test.version
    texts = dataset.split_documents("test").collect()["text"]
    there = count_tokens(tokenizer / "tokenizer.json", ((text, None) for text in texts), len(test.tokens)).df > 0
    new = there & np.isclose(train.idf, math.log1p(10.5 / 0.5))
    assert new.sum() > 3  # tokens that only the test documents hold count as unseen
    assert (test.idf[new] < math.log1p(4.5 / 0.5) - 0.1).all()
    with pytest.raises(DatasetError, match="has no dev qrels"):
        compute_idf(dataset, tokenizer, tmp_path / "dev.json", split="dev")


def test_the_file_reads_back_and_names_its_making(dataset: Dataset, tokenizer: Path, tmp_path: Path) -> None:
    made = compute_idf(dataset, tokenizer, tmp_path / "idf.json")
    read = Lexicon.open(tokenizer / "tokenizer.json", tmp_path / "idf.json")
    assert read.version == made.version
    assert read.idf.tobytes() == made.idf.tobytes()
    meta = json.loads((tmp_path / "idf.meta.json").read_text())
    assert meta["dataset"] == dataset.fingerprint
    assert (meta["split"], meta["documents"], meta["version"]) == ("train", 10, made.version)


def test_up_to_date_other_inputs_and_a_changed_file(
    dataset: Dataset, tokenizer: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    output = tmp_path / "idf.json"
    first = compute_idf(dataset, tokenizer, output)
    with caplog.at_level(logging.INFO):
        assert compute_idf(dataset, tokenizer / "tokenizer.json", output).version == first.version
    assert f"{output} is up to date" in caplog.text
    with pytest.raises(InputError, match="made from other inputs; replace it with `overwrite=True`"):
        compute_idf(dataset, tokenizer, output, split="test")
    output.write_text("{}")
    with pytest.raises(InputError, match="was changed since it was made; replace it with `overwrite=True`"):
        compute_idf(dataset, tokenizer, output)
    assert compute_idf(dataset, tokenizer, output, overwrite=True).version == first.version


def test_a_missing_tokenizer(dataset: Dataset, tokenizer: Path, tmp_path: Path) -> None:
    shutil.rmtree(tokenizer)
    with pytest.raises(ModelError, match="does not exist; a fast tokenizer's tokenizer.json is needed"):
        compute_idf(dataset, tokenizer, tmp_path / "idf.json")


ROWS = [
    {"id": "1", "text": "bread and the moon", "lang": "en", "date": "2026-10-30"},
    {"id": "2", "text": "the moon", "lang": "en", "date": "2026-01-02T10:00:00"},
    {"id": "3", "text": "빵과 달", "lang": "ko"},
    {"id": "4", "text": " ", "lang": "en"},
]


def write_rows(path: Path, rows: list[dict[str, str]]) -> Path:
    data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def test_documents_without_judgements_are_counted_all(tokenizer: Path, tmp_path: Path) -> None:
    """By default, as a dataset or as plain files: every way gives the same table."""
    dataset = build_dataset("jsonl", [write_rows(tmp_path / "rows.jsonl", ROWS)], tmp_path / "dataset")
    made = compute_idf(dataset, tokenizer, tmp_path / "dataset.json")
    about = json.loads((tmp_path / "dataset.meta.json").read_text())
    assert (about["split"], about["documents"]) == ("all", 3)
    table = (tmp_path / "dataset.json").read_bytes()
    pl.DataFrame(ROWS[2:]).write_parquet(tmp_path / "rest.parquet")
    rest = write_rows(tmp_path / "first.jsonl.gz", [{**row, "brand": "any"} for row in ROWS[:2]])
    for number, files in enumerate(([tmp_path / "rows.jsonl"], [rest, tmp_path / "rest.parquet"])):
        compute_idf(files, tokenizer, tmp_path / f"{number}.json")
        assert (tmp_path / f"{number}.json").read_bytes() == table
        meta = json.loads((tmp_path / f"{number}.meta.json").read_text())
        assert list(meta["files"]) == [file.name for file in files] and meta["documents"] == 3
    recency = Recency(half_life=30, as_of=datetime.date(2026, 11, 1))
    compute_idf(dataset, tokenizer, tmp_path / "recent.json", recency=recency)
    compute_idf([tmp_path / "rows.jsonl"], tokenizer, tmp_path / "file.json", recency=recency)
    assert (tmp_path / "recent.json").read_bytes() == (tmp_path / "file.json").read_bytes() != table
    assert made.version == json.loads((tmp_path / "1.meta.json").read_text())["version"]


def test_a_dataset_without_a_training_split_is_counted_whole(dataset: Dataset, tokenizer: Path, tmp_path: Path) -> None:
    held = save_dataset(
        tmp_path / "held", documents=dataset.documents, queries=dataset.queries, qrels={"test": dataset.qrels("test")},
        sources=dataset.manifest.sources, split_rule="tests", seed=0,
    )  # fmt: skip
    compute_idf(held, tokenizer, tmp_path / "held.json")
    compute_idf(dataset, tokenizer, tmp_path / "all.json", split="all")
    assert (tmp_path / "held.json").read_bytes() == (tmp_path / "all.json").read_bytes()
    compute_idf(dataset, tokenizer, tmp_path / "default.json")
    compute_idf(dataset, tokenizer, tmp_path / "train.json", split="train")
    assert (tmp_path / "default.json").read_bytes() == (tmp_path / "train.json").read_bytes()


def test_files_that_cannot_be_counted(dataset: Dataset, tokenizer: Path, tmp_path: Path) -> None:
    rows, output = write_rows(tmp_path / "rows.jsonl", ROWS), tmp_path / "idf.json"
    pairs = write_rows(tmp_path / "pairs.jsonl", [{"id": "1", "text": "a"}, {"query": "q"}])
    blank = write_rows(tmp_path / "blank.jsonl", [{"id": "1", "text": " "}])
    cases: list[tuple[list[Path], dict[str, Any], str]] = [
        ([], {}, "no documents: give a dataset directory or at least one file"),
        ([rows], {"split": "train"}, "split must be all or left out for files, got 'train'"),
        ([rows, dataset.path], {}, "is not a file; give one dataset directory, or files"),
        ([tmp_path / "nowhere.jsonl"], {}, "nowhere.jsonl does not exist; give one dataset"),
        ([pairs], {}, "pairs.jsonl:2: text must be a string, found NoneType"),
        ([blank], {}, "blank.jsonl: no document has text; there is nothing to count"),
    ]
    for files, options, message in cases:
        with pytest.raises(InputError, match=message):
            compute_idf(files, tokenizer, output, **options)
        assert not output.exists()


def test_the_command_takes_a_dataset_or_files(tokenizer: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", ROWS)
    built = CliRunner().invoke(
        cli, ["corpus", "build", "--source", "jsonl", str(rows), "--output", str(tmp_path / "d")]
    )
    assert built.exit_code == 0, built.output
    for name, path in (("a", tmp_path / "d"), ("b", rows)):
        asked = ["idf", str(path), "--tokenizer", str(tokenizer), "--output", str(tmp_path / f"{name}.json")]
        shown = CliRunner().invoke(cli, asked)
        assert shown.exit_code == 0 and "tokens, weights" in shown.output, shown.output
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
