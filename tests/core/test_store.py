"""The store against plain dictionaries."""

from __future__ import annotations

import multiprocessing
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from osparse.contracts.dataset import CANDIDATES, Dataset, Source, save_dataset
from osparse.contracts.text_map import IdIndex, TextMap
from osparse.corpus.pairs.selection import Selection
from osparse.corpus.pairs.store import Example, Store
from osparse.errors import ConfigError, DatasetError

DOCUMENTS, QUERIES = 300, 40


def make(path: Path, name: str, seed: int) -> Dataset:
    rng = random.Random(seed)
    documents = [
        (f"{name}-d{i}", "", f"{name} text {i}", rng.choice(["ko", "en"]), None, name, f"g{i}")
        for i in range(DOCUMENTS)
    ]
    queries = [(f"{name}-q{i}", f"{name} query {i}", "ko", None) for i in range(QUERIES)]
    judged = [(f"{name}-q{i}", f"{name}-d{i * 7}", 1.0 + i % 3, "annotated") for i in range(QUERIES)]
    shown: list[tuple[Any, ...]] = []
    for i in range(QUERIES):
        for d in rng.sample([d for d in range(DOCUMENTS) if d != i * 7], 12):
            shown.append((f"{name}-q{i}", f"{name}-d{d}", 0.0, float(rng.randint(0, 9)), "mined", "bm25"))
        shown.append((f"{name}-q{i}", f"{name}-d{i * 7}", None, 9.5, "distilled", "teacher"))
    rng.shuffle(shown)
    return save_dataset(
        path / name,
        documents=pl.DataFrame(
            documents, schema=["id", "title", "text", "lang", "date", "source", "group"], orient="row"
        ),
        queries=pl.DataFrame(queries, schema=["id", "text", "lang", "date"], orient="row"),
        qrels={"train": pl.DataFrame(judged, schema=["query_id", "document_id", "score", "origin"], orient="row")},
        candidates={"train": pl.DataFrame(shown, schema=CANDIDATES, orient="row")},
        sources=[Source(name, "Apache-2.0", DOCUMENTS, DOCUMENTS, {}, "0" * 64)],
        split_rule="all train",
        seed=0,
    )


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Dataset]:
    folder = tmp_path_factory.mktemp("store")
    return make(folder, "a", 1), make(folder, "b", 2)


def plain(example: Example) -> list[tuple[str, str, float]]:
    return [(c.id, c.text, c.label) for c in example.documents]


def test_a_store_holds_what_dictionaries_hold(two: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    dataset = two[0]
    texts = dict(dataset.documents.select("id", "text").collect().iter_rows())
    queries = dict(dataset.queries.select("id", "text").collect().iter_rows())
    wanted: dict[str, set[tuple[str, str, float, float]]] = {}
    for query, document, score, _ in dataset.qrels("train").collect().iter_rows():
        wanted.setdefault(query, set()).add((document, texts[document], score, score))
    store = Store.open([Selection(dataset)], cache=tmp_path)
    assert len(store) == QUERIES == len(list(store))
    for example in store:
        assert example.query == queries[example.query_id]
        assert {(c.id, c.text, c.label, c.score) for c in example.documents} == wanted[example.query_id]


def test_top_k_and_random_k_and_ranges(two: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    dataset = two[0]
    rows = dataset.candidates("train").filter(pl.col("scorer") == "bm25").collect()
    lang = dict(dataset.documents.select("id", "lang").collect().iter_rows())
    mined = Selection(
        dataset, table="candidates", scorers=("bm25",), min_score=2, max_score=8, where=pl.col("lang") == "ko", top_k=4
    )
    by_query: dict[str, list[float]] = {}
    for row in rows.to_dicts():
        if 2 <= row["score"] <= 8 and lang[row["document_id"]] == "ko":
            by_query.setdefault(row["query_id"], []).append(row["score"])
    store = Store.open([mined], cache=tmp_path)
    found = {e.query_id: [c.score for c in e.documents] for e in store}
    assert found == {query: sorted(scores, reverse=True)[:4] for query, scores in by_query.items()}
    drawn = Store.open([Selection(dataset, table="candidates", scorers=("bm25",), random_k=3)], cache=tmp_path)
    assert {len(e.documents) for e in drawn} == {3}
    again = Store.open(
        [Selection(dataset, table="candidates", scorers=("bm25",), random_k=3)], cache=tmp_path / "other"
    )
    other = Store.open([Selection(dataset, table="candidates", scorers=("bm25",), random_k=3, seed=1)], cache=tmp_path)
    assert drawn.fingerprint() == again.fingerprint() != other.fingerprint()
    ranks = [
        sorted(rows.filter(pl.col("query_id") == e.query_id)["score"], reverse=True).index(c.score)
        for e in drawn
        for c in e.documents
    ]
    assert 2 < np.mean(ranks) < 7, "drawn over all twelve, not from the top"


def test_selections_are_combined_by_query_and_the_earlier_wins(two: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    a, b = two
    selections = [
        Selection(a, relabel=1.0),
        Selection(a, table="candidates", origins=("distilled",), relabel=5.0),  # the judged ones again: they lose
        Selection(a, table="candidates", origins=("mined",), top_k=3),
        Selection(b, queries=10),
    ]
    store = Store.open(selections, cache=tmp_path)
    assert len(store) == QUERIES + 10
    for example in store:
        labels = [c.label for c in example.documents]
        if example.query_id.startswith("a-"):
            assert labels == [1.0, 0.0, 0.0, 0.0]
            assert all(c.text.startswith("a text") for c in example.documents)
        else:
            assert len(labels) == 1 and example.documents[0].text.startswith("b text")
    assert store.datasets == (a.path, b.path)


def test_the_cache_follows_content_and_settings(two: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    first = Store.open([Selection(two[0])], cache=tmp_path)
    made = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert Store.open([Selection(two[0])], cache=tmp_path).fingerprint() == first.fingerprint()
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == made
    Store.open([Selection(two[0], where=pl.col("lang") == "ko"), Selection(two[1])], cache=tmp_path)
    Store.open([Selection(two[0], where=pl.col("lang") == "en")], cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 4


def _texts(store: Store) -> list[Any]:
    return [(e.query_id, plain(e)) for e in store]


def test_worker_processes_open_the_same_maps(two: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    store = Store.open([Selection(two[0]), Selection(two[1])], cache=tmp_path)
    assert "text 7" not in repr(pickle.dumps(store.documents[0])), "a map travels as its path"
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_texts, (store,)) == _texts(store)


def test_settings_that_cannot_be_are_all_named(two: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    wrong = Selection(two[0], origins=("made up",), scorers=("x",), top_k=0, random_k=0, min_score=2, max_score=1)
    with pytest.raises(ConfigError) as caught:
        Store.open([Selection(two[0]), wrong], cache=tmp_path)
    assert len(caught.value.problems) == 5 and all("selections.1" in line for line in caught.value.problems)
    with pytest.raises(DatasetError, match="leaves no row of the train qrels"):
        Store.open([Selection(two[0], min_score=99)], cache=tmp_path)
    with pytest.raises(DatasetError, match="has no test candidates"):
        Store.open([Selection(two[0], split="test", table="candidates")], cache=tmp_path)
    with pytest.raises(ConfigError, match="none given"):
        Store.open([], cache=tmp_path)


@pytest.mark.parametrize("rows", [1, 2, 3, 1000])
def test_every_id_is_found_and_no_other(rows: int) -> None:
    ids = pl.Series("id", [f"id-{i}" for i in range(rows)])
    index = IdIndex(ids.to_frame().lazy())
    order = np.random.default_rng(0).permutation(rows)
    np.testing.assert_array_equal(index.rows(ids[order.tolist()]), order)
    for unknown in ("id-", "", "id-1000"):
        with pytest.raises(DatasetError, match=f"there is no '{unknown}' among"):
            index.rows(pl.Series([unknown]))


def test_cells_by_row_and_by_id(two: tuple[Dataset, Dataset]) -> None:
    texts = TextMap(two[0].path / "documents.arrow")
    assert (len(texts), texts.value(7), texts.of("a-d299"), texts.of("a-d3", "group")) == (
        300,
        "a text 7",
        "a text 299",
        "g3",
    )
    for row in (-1, 300):
        with pytest.raises(IndexError):
            texts.value(row)
