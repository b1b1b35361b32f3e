"""A corpus without judgements: what works on documents alone, and what says that it needs judgements."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from osparse.cli.main import cli
from osparse.contracts.dataset import Dataset
from osparse.contracts.model import Model
from osparse.corpus import build_dataset, dataset_stats, mine, score_candidates, train_tokenizer
from osparse.corpus.builder.plots import draw
from osparse.corpus.mining.retrievers import Bm25Retriever
from osparse.corpus.pairs.pairs import make_pairs
from osparse.errors import DatasetError
from osparse.evaluation.measures import open_benchmark
from osparse.packager import package

TOPICS = {"fruit": ["orchard", "ripe", "juice", "sweet"], "sea": ["wave", "sail", "salt", "anchor"]}
SYNONYMS = {"fruit": ("pear", "pyrus"), "sea": ("ocean", "brine")}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """200 dated documents of two topics; "pear tree" comes in the last month only."""
    folder, generator, rows = tmp_path_factory.mktemp("plain"), np.random.default_rng(0), []
    for number in range(200):
        topic = ("fruit", "sea")[number % 2]
        words = [*generator.permutation(TOPICS[topic])[:3], generator.choice(SYNONYMS[topic])]
        recent = number % 5 == 0
        text = " ".join(
            [*generator.permutation(words), "기계 학습(machine learning)", "new pear tree" if recent else ""]
        )
        date = f"2026-{'10' if recent else '07'}-{1 + number % 28:02d}"
        rows.append({"id": str(number), "text": text, "lang": "en", "date": date})
    (folder / "docs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return build_dataset("jsonl", [folder / "docs.jsonl"], folder / "dataset")


def test_documents_alone_are_built_and_described(plain: Dataset, tmp_path: Path) -> None:
    assert plain.manifest.counts == {"documents.arrow": 200, "queries.arrow": 0} and plain.splits == ()
    stats = dataset_stats(plain)
    assert stats.splits["all"]["documents"]["en"]["rows"] == 200 and stats.splits["all"]["judgements"] == {}
    assert {path.stem for path in draw(plain, tmp_path / "plots")} == {"lengths", "languages", "dates"}


def test_a_tokenizer_is_fitted_on_all_of_them(plain: Dataset, tmp_path: Path) -> None:
    made = train_tokenizer(plain, tmp_path / "tokenizer", vocab_size=200)
    assert made.unknown_share == {}
    assert json.loads((tmp_path / "tokenizer" / "tokenizer.meta.json").read_text())["split"] == "all"


def test_trends_and_synonyms_read_all_of_them(plain: Dataset, tmp_path: Path) -> None:
    for arguments, said in (
        (["trends", "--as-of", "2026-10-31", "--output", str(tmp_path / "trends.json")], "pear tree"),
        (["synonyms", "--at-least", "2", "--output", str(tmp_path / "synonyms")], "기계 학습 = machine learning"),
    ):
        shown = CliRunner().invoke(cli, ["corpus", *arguments, str(plain.path)])
        assert shown.exit_code == 0 and said in shown.output, shown.output


def test_a_bundle_is_fitted_to_them(plain: Dataset, model: Model, tmp_path: Path) -> None:
    fit = package(model, tmp_path / "bundle", dataset=plain, formats=("onnx",)).fit
    assert fit["measured_on"]["texts"] == "dataset" and fit["measured_on"]["read"] == 200
    assert fit["seismic"]["fitted"]["error"] > 0  # measured by the documents' own beginnings as queries


@pytest.mark.parametrize(
    "work",
    [
        lambda plain, path: mine(plain, path, Bm25Retriever()),
        lambda plain, path: score_candidates(plain, path, path),
        lambda plain, path: make_pairs([plain], path),
        lambda plain, path: open_benchmark(plain.path),
        lambda plain, path: plain.split_documents("train"),
    ],
)
def test_what_needs_judgements_says_so(work: Callable[[Dataset, Path], object], plain: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"has no judgements \(qrels\).*osparse corpus pairs"):
        work(plain, tmp_path / "output")
    assert not (tmp_path / "output").exists()
