"""Planted synonyms and translations are found; counts, precision and files are what they say."""

from __future__ import annotations

import datetime
import json
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from osparse.cli.main import cli
from osparse.contracts.dataset import Dataset, Source, save_dataset
from osparse.corpus import Recency, SynonymRules, build_dataset, find_synonyms
from osparse.corpus.synonyms.bilingual_terms import Translation, aligned_titles, from_parentheses, from_titles
from osparse.corpus.synonyms.clusters import METHODS, cluster, mutual_neighbours
from osparse.corpus.synonyms.synonyms import merged, precision
from osparse.corpus.synonyms.word_vectors import Vocabulary, ppmi_vectors
from osparse.errors import DatasetError, InputError

TOPICS = {
    "fruit": ["orchard", "ripe", "juice", "harvest", "sweet"],
    "sea": ["wave", "harbour", "sail", "salt", "anchor"],
    "rail": ["station", "ticket", "platform", "engine", "signal"],
}
SYNONYMS = {"fruit": ("pear", "pyrus"), "sea": ("ocean", "brine"), "rail": ("train", "locomotive")}
KOREAN = {"pear": "서양배", "ocean": "바다", "train": "열차"}


def sentences(seed: int = 0) -> list[tuple[str, str]]:
    """(topic, sentence) in which one of two synonyms, never both, stands among its topic's words."""
    generator = np.random.default_rng(seed)
    found = []
    for number in range(240):
        topic = list(TOPICS)[number % 3]
        around = generator.choice(TOPICS[topic], 4, replace=False).tolist()
        around.insert(2, SYNONYMS[topic][int(generator.integers(2))])
        found.append((topic, " ".join(around)))
    return found


@pytest.fixture(scope="module")
def aligned(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """English and Korean titles of the same documents; the last records are the test split."""
    path = tmp_path_factory.mktemp("synonyms") / "dataset"
    documents, queries = [], []
    qrels: dict[str, list[tuple[str, str, float, str]]] = {"train": [], "test": []}
    for number, (topic, text) in enumerate(sentences()):
        word = next(w for w in SYNONYMS[topic] if w in text.split())
        korean = KOREAN[SYNONYMS[topic][0]] + " " + ["가나", "다라", "마바", "사아", "자차"][number // 3 % 5]
        documents.append((f"d{number}", "", text, "en", None, "world", f"g{number}"))
        queries += [
            (f"en{number}", f"{word} {TOPICS[topic][number // 3 % 5]}", "en", None),
            (f"ko{number}", korean, "ko", None),
        ]
        split = "test" if number >= 180 else "train"
        qrels[split] += [(f"{lang}{number}", f"d{number}", 1.0, "annotated") for lang in ("en", "ko")]
    return save_dataset(
        path, documents=pl.DataFrame(documents, schema=["id", "title", "text", "lang", "date", "source", "group"], orient="row"),
        queries=pl.DataFrame(queries, schema=["id", "text", "lang", "date"], orient="row"),
        qrels={s: pl.DataFrame(rows, schema=["query_id", "document_id", "score", "origin"], orient="row") for s, rows in qrels.items()},
        sources=[Source("world", "Apache-2.0", 240, 240, {}, "0" * 64)], split_rule="tests", seed=0,
    )  # fmt: skip


@pytest.mark.parametrize("method", ["dbscan", "hdbscan", "hierarchical", "mutual"])
def test_planted_synonyms_are_grouped(aligned: Dataset, tmp_path: Path, method: str) -> None:
    report = find_synonyms(aligned, tmp_path / "synonyms", SynonymRules(method=method, similarity=0.8, at_most=0.5))
    together = {frozenset(pair) for pair in SYNONYMS.values()}
    found = {frozenset(group.words) for group in report.groups}
    assert sum(any(pair <= group for group in found) for pair in together) >= 2


def test_every_method_separates_three_directions() -> None:
    generator = np.random.default_rng(0)
    vectors = np.repeat(np.eye(3, 8), 4, 0) + generator.normal(0, 0.05, (12, 8))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    for method in METHODS:
        found = cluster(method, vectors, 0.8)
        if method not in ("kmeans", "hdbscan"):  # which may split a direction
            assert found == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]], method
        assert all(len({row // 4 for row in group}) == 1 for group in found), method
    with pytest.raises(ValueError, match="none of kmeans"):
        cluster("other", vectors, 0.8)


def test_mutual_neighbours_need_both_sides() -> None:
    """c's nearest is b, but b's nearest is a."""
    angles = np.array([0.0, 0.1, 0.3])
    vectors = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    assert [(i, j) for i, j, _ in mutual_neighbours(vectors, 0.5, k=1)] == [(0, 1)]


def test_ppmi_is_the_formula_and_old_documents_count_less() -> None:
    texts = [["aa", "bb"], ["aa", "bb"], ["aa", "cc"], ["dd", "cc"]]
    vocabulary = Vocabulary.of(texts, at_least=1, at_most=1.0)
    full = ppmi_vectors(texts, vocabulary, np.ones(4), size=3)
    assert full.shape == (4, 3) and np.linalg.norm(full, axis=1) == pytest.approx(np.ones(4), abs=1e-5)
    without = ppmi_vectors(texts[:3], vocabulary, np.ones(3), size=3)
    faded = ppmi_vectors(texts, vocabulary, np.array([1.0, 1.0, 1.0, 0.0]), size=3)
    assert np.abs(without @ without.T - faded @ faded.T).max() < 1e-5
    assert not faded[vocabulary.words.index("dd")].any()


def test_common_and_rare_words_have_no_vector() -> None:
    texts = [["the", "pear"], ["the", "pear"], ["the", "rare"], ["the", "x"], ["the", "12"]] * 1
    assert Vocabulary.of(texts, at_least=2, at_most=0.5).words == ("pear",)


def test_translations_of_titles_and_their_precision_on_held_out_ones(aligned: Dataset, tmp_path: Path) -> None:
    titles = aligned_titles(aligned, "train")
    assert len(titles) == 180 and all(len(ko) == 2 and len(en) == 2 for ko, en in titles)
    found = {(pair.ko, pair.en) for pair in from_titles(titles)}
    assert {ko for ko, _ in found} >= {*KOREAN.values()}
    report = find_synonyms(aligned, tmp_path / "synonyms", SynonymRules(at_most=0.5))
    assert report.precision is not None and report.precision.judged == len(report.translations)
    assert max(report.precision.at.values()) == 1.0 > report.precision.chance


def test_precision_counts_confirmed_pairs_in_order() -> None:
    held = [(["바다", "소금"], ["sea", "salt"]), (["열차"], ["railway", "train"])]
    pairs = [
        Translation("열차", "train", 0.9, 5, "titles"), Translation("소금", "sugar", 0.8, 5, "titles"),
        Translation("달", "moon", 0.7, 5, "titles"), Translation("바다", "sea", 0.6, 5, "titles"),
    ]  # fmt: skip
    found = precision(pairs, held)
    assert found.judged == 3 and found.at == {3: pytest.approx(2 / 3)}
    assert found.chance == pytest.approx(2 / 4)


def test_terms_before_parentheses() -> None:
    texts = [
        "기계 학습(machine learning)은 좋다",
        "이번에 기계 학습 (Machine Learning)",
        "서버(server)",
        "그 서버(server)",
        "한번(once)",
    ]
    found = {(pair.ko, pair.en): pair for pair in from_parentheses(texts)}
    assert set(found) == {("기계 학습", "machine learning"), ("서버", "server")}
    assert found["서버", "server"].confidence == pytest.approx(2 / 3)


def test_a_name_is_no_translation_of_itself() -> None:
    pairs = [
        Translation("gnu", "gnu", 1.0, 9, "titles"),
        Translation("서버", "server", 0.5, 9, "titles"),
        Translation("서버", "server", 0.7, 3, "parentheses"),
    ]
    assert merged(pairs, 0.1) == [pairs[2]] and merged(pairs, 0.8) == []


def test_the_folder_is_read_by_those_it_is_for(aligned: Dataset, tmp_path: Path) -> None:
    report = find_synonyms(aligned, tmp_path / "synonyms", SynonymRules(at_most=0.5))
    lines = (tmp_path / "synonyms" / "synonyms.txt").read_text().splitlines()
    assert len(lines) == len(report.groups) + len(report.translations) and all(
        len(line.split(", ")) > 1 for line in lines
    )
    hints = json.loads((tmp_path / "synonyms" / "hints.json").read_text())
    assert all(hints[b][a] == weight for a, row in hints.items() for b, weight in row.items())
    rows = [json.loads(line) for line in (tmp_path / "synonyms" / "pairs.jsonl").read_text().splitlines()]
    more = tmp_path / "pairs.jsonl"
    more.write_text(
        "".join(json.dumps({**row, "query": f"{row['query']} {n}"}) + "\n" for n, row in enumerate(rows * 4))
    )
    assert build_dataset("jsonl", (more,), tmp_path / "built").manifest.sources[0].rows_kept


def test_recent_usage_counts_more(tmp_path: Path) -> None:
    """A word's company of a year ago is forgotten with a half-life of ten days."""
    recency = Recency(half_life=10.0, as_of=datetime.date(2026, 11, 1))
    assert math.isclose(recency.weights([datetime.date(2025, 11, 1)])[0], 2**-36.5)
    with pytest.raises(InputError, match="recency weighs PPMI"):
        SynonymRules(recency=recency, model=tmp_path)
    with pytest.raises(InputError, match="one of kmeans"):
        SynonymRules(method="magic")


def test_vectors_of_a_model_in_context(aligned: Dataset, model: object, tmp_path: Path) -> None:
    from osparse.contracts.model import Model

    assert isinstance(model, Model)
    report = find_synonyms(aligned, tmp_path / "synonyms", SynonymRules(model=model.path, similarity=0.5, at_most=0.5))
    assert all(0 < group.confidence <= 1.0001 for group in report.groups)


def test_nothing_found_is_an_error(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no synonyms"):
        find_synonyms(dataset, tmp_path / "synonyms", SynonymRules(at_least=50, confidence=1.0))
    assert not (tmp_path / "synonyms").exists()


def test_recency_without_dates_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    undated = save_dataset(
        tmp_path / "undated", documents=dataset.documents.with_columns(date=pl.lit(None, pl.Date)),
        queries=dataset.queries, qrels={split: dataset.qrels(split) for split in ("train", "validation", "test")},
        sources=dataset.manifest.sources, split_rule="tests", seed=0,
    )  # fmt: skip
    rules = SynonymRules(recency=Recency(half_life=10.0, as_of=datetime.date(2026, 11, 1)))
    with pytest.raises(InputError, match="no document has a date"):
        find_synonyms(undated, tmp_path / "synonyms", rules)


def test_the_command_says_what_it_found(aligned: Dataset, tmp_path: Path) -> None:
    shown = CliRunner().invoke(cli, ["corpus", "synonyms", str(aligned.path), "--output", str(tmp_path / "s")])
    assert shown.exit_code == 0, shown.output
    assert "translations confirmed by held-out titles" in shown.output
