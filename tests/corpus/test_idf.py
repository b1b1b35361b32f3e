"""idf.json: against the closed form, a naive count, and its own provenance."""

from __future__ import annotations

import json
import logging
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import world

from osparse.corpus import compute_idf
from osparse.corpus.idf import bm25_idf, document_frequency, highest
from osparse.dataset import Dataset
from osparse.errors import DatasetError, InputError, ModelError
from osparse.lexicon import MIN_WEIGHT, Lexicon, load_tokenizer


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
    assert max(table.values()) == pytest.approx(highest(10), rel=1e-6)


def test_closed_form_known_values() -> None:
    got = bm25_idf(np.array([0, 1, 50, 100]), 100)
    expected = [math.log(1 + 100.5 / 0.5), math.log(1 + 99.5 / 1.5), math.log(2), math.log(1 + 0.5 / 100.5)]
    assert got == pytest.approx(expected, rel=1e-12)
    assert (np.diff(bm25_idf(np.arange(101), 100)) < 0).all()
    assert (bm25_idf(np.arange(101), 100) > 0).all()


def test_a_long_text_counts_to_its_end_and_a_repeated_token_once(tokenizer: Path) -> None:
    file = tokenizer / "tokenizer.json"
    moon = load_tokenizer(file).encode("moon", add_special_tokens=False).ids
    df, _ = document_frequency(file, ["bread " * 3000 + "moon", "moon moon", ""] * 400, 400)
    assert df[moon].tolist() == [800] * len(moon)
    assert df[[0, 1, 2, 3, 4]].tolist() == [0] * 5


def test_only_the_asked_split_is_read(dataset: Dataset, tokenizer: Path, tmp_path: Path) -> None:
    train = compute_idf(dataset, tokenizer, tmp_path / "train.json")
    test = compute_idf(dataset, tokenizer, tmp_path / "test.json", split="test")
    assert train.version != test.version
    texts = dataset.split_documents("test").collect()["text"]
    there = document_frequency(tokenizer / "tokenizer.json", texts, len(test.tokens))[0] > 0
    new = there & np.isclose(train.idf, highest(10))
    assert new.sum() > 3  # tokens that only the test documents hold count as unseen
    assert (test.idf[new] < highest(4) - 0.1).all()
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
    with pytest.raises(InputError, match="made from other inputs; pass --overwrite"):
        compute_idf(dataset, tokenizer, output, split="test")
    output.write_text("{}")
    with pytest.raises(InputError, match="was changed since it was made; pass --overwrite"):
        compute_idf(dataset, tokenizer, output)
    assert compute_idf(dataset, tokenizer, output, overwrite=True).version == first.version


def test_a_missing_tokenizer(dataset: Dataset, tokenizer: Path, tmp_path: Path) -> None:
    shutil.rmtree(tokenizer)
    with pytest.raises(ModelError, match="does not exist; a fast tokenizer's tokenizer.json is needed"):
        compute_idf(dataset, tokenizer, tmp_path / "idf.json")
