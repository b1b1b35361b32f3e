"""Records out of the memory maps against plain dictionaries, and what of them is in memory."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import world

from osparse.contracts.dataset import CANDIDATES, Dataset, Source, save_dataset
from osparse.errors import DatasetError
from osparse.formula.lexicon import Lexicon, load_tokenizer
from osparse.trainer.data import tokens
from osparse.trainer.data.candidates import with_candidates
from osparse.trainer.data.record_reader import read_records
from osparse.trainer.data.training_records import TrainingRecord, TrainingRecords
from osparse.trainer.stages.teachers import VectorCache

WORDS = ["pear", "bread", "moon", "tide", "rain", "spring", "배나무", "달", "빵"]
NOTHING = "\u0000"
"""A text without a token."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Lexicon]:
    path = world.make_tokenizer(tmp_path_factory.mktemp("tokenizer") / "tokenizer.json")
    return path, world.make_lexicon(path)


@pytest.fixture(scope="module")
def tangled(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """120 documents and 90 queries, tied at random into parts of many sizes; one text in eight tokenises to nothing."""
    draw = np.random.default_rng(4)

    def text() -> str:
        return NOTHING if draw.random() < 0.125 else " ".join(draw.choice(WORDS, int(draw.integers(1, 6))))

    order = draw.permutation(120)
    documents = [
        (
            f"d{order[i]:03}",
            "",
            text(),
            "ke"[i % 2] + "on"[i % 2],
            None,
            ["", "a", "b"][i % 3],
            ["", f"g{i // 4}"][i % 2],
        )
        for i in range(120)
    ]
    queries = [(f"q{i:02}", text(), "en", None) for i in draw.permutation(90)]
    judged = {(f"q{draw.integers(90):02}", f"d{draw.integers(120):03}") for _ in range(130)}
    rows = [(q, d, float(draw.integers(0, 3)), "annotated") for q, d in sorted(judged)]
    asked, positive = sorted({q for q, *_ in rows}), {(q, d) for q, d, score, _ in rows if score > 0}
    shown = {(str(draw.choice(asked)), f"d{draw.integers(120):03}", f"s{draw.integers(2)}") for _ in range(400)}
    found: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for number, (q, d, scorer) in enumerate(sorted(shown, key=lambda row: row[::-1])):
        label = None if number % 3 or (q, d) in positive else 0.0
        if number % 5 == 0 and label is not None:
            found[q, d, "mined", ""] = (q, d, label, None, "mined", "")
        else:
            found[q, d, scorer] = (q, d, label, number / 8, ["mined", "distilled"][number % 2], scorer)
    return save_dataset(
        tmp_path_factory.mktemp("tangled") / "dataset",
        documents=pl.DataFrame(
            documents, schema=["id", "title", "text", "lang", "date", "source", "group"], orient="row"
        ),
        queries=pl.DataFrame(queries, schema=["id", "text", "lang", "date"], orient="row"),
        qrels={"train": pl.DataFrame(rows, schema=["query_id", "document_id", "score", "origin"], orient="row")},
        candidates={"train": pl.DataFrame([*found.values()], schema=CANDIDATES, orient="row")},
        sources=[Source("made", "Apache-2.0", 120, 120, {}, "0" * 64)], split_rule="all train", seed=0,
    )  # fmt: skip


def parts_of(relevant: dict[str, set[str]]) -> list[set[str]]:
    """Documents that queries tie together, by merging sets until none overlap."""
    parts: list[set[str]] = []
    for found in relevant.values():
        tied = [part for part in parts if part & found]
        parts = [part for part in parts if not part & found] + [set().union(found, *tied)]
    return sorted(parts, key=min)


def plainly_read(dataset: Dataset, path: Path, lexicon: Lexicon) -> list[tuple[Any, ...]]:
    tokenizer = load_tokenizer(path)

    def ids(text: str) -> list[int]:
        return [i for i in tokenizer.encode(text, add_special_tokens=False).ids if i not in lexicon.special_ids]

    documents = {row["id"]: row for row in dataset.documents.collect().to_dicts()}
    queries = {row["id"]: row for row in dataset.queries.collect().to_dicts()}
    relevant: dict[str, set[str]] = defaultdict(set)
    for query, document, score, _ in dataset.qrels("train").collect().rows():
        if score > 0:
            relevant[query].add(document)
    records = []
    for part in parts_of(relevant):
        own = [documents[name] for name in sorted(part) if ids(documents[name]["text"])]
        asked = [q for q in sorted(relevant) if relevant[q] & part and ids(queries[q]["text"])]
        if own and asked:
            records.append((
                own[0]["group"] or min(part),
                next((document["source"] for document in own if document["source"]), ""),
                [(q, queries[q]["lang"], list(dict.fromkeys(ids(queries[q]["text"]))), relevant[q]) for q in asked],
                [(d["id"], d["lang"], ids(d["text"]), d["group"] or min(part)) for d in own],
            ))  # fmt: skip
    return records


def shown(records: TrainingRecords, record: TrainingRecord) -> tuple[Any, ...]:
    queries = [(q.id, q.lang, q.ids.tolist(), records.relevant[q.id]) for q in record.queries]
    documents = [(d.id, d.lang, d.ids.tolist(), d.group) for d in record.documents]
    return record.group, record.source, queries, documents


@pytest.mark.parametrize("on_disk", [False, True])
def test_records_are_those_of_plain_dictionaries(
    tangled: Dataset, inputs: tuple[Path, Lexicon], tmp_path: Path, on_disk: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "CHUNK", 7)
    plain = plainly_read(tangled, *inputs)
    records = read_records(tangled, *inputs, cache=tmp_path / "tokens" if on_disk else None)
    assert [shown(records, record) for record in records.records] == plain
    assert 10 < len(plain) < len(parts_of({q: set(records.relevant[q]) for q in records.relevant}))
    groups = [group for group, *_ in plain]
    assert (np.equal.outer(records.groups, records.groups) == np.equal.outer(groups, groups)).all()
    names, numbers = records.sources
    assert [names[number] for number in numbers] == [source for _, source, *_ in plain] and names == sorted(names)
    assert records.query_count == sum(len(queries) for _, _, queries, _ in plain)
    assert records.languages == ("en", "ko")


def test_the_token_ids_are_made_once_and_mapped(
    tangled: Dataset, inputs: tuple[Path, Lexicon], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read_records(tangled, *inputs, cache=tmp_path)
    monkeypatch.setattr(tokens.TokenReader, "_chunks", lambda *_: pytest.fail("tokenised again"))
    again = read_records(tangled, *inputs, cache=tmp_path)
    assert [shown(first, r) for r in first.records] == [shown(again, r) for r in again.records]
    assert isinstance(again.records.document_tokens.ids, np.memmap)  # type: ignore[attr-defined]
    assert again.records.document_tokens.ids.dtype == np.uint16  # type: ignore[attr-defined]


@pytest.mark.parametrize("on_disk", [False, True])
def test_candidates_are_those_of_plain_dictionaries(
    tangled: Dataset, inputs: tuple[Path, Lexicon], tmp_path: Path, on_disk: bool
) -> None:
    cache = tmp_path if on_disk else None
    records = with_candidates(read_records(tangled, *inputs), tangled, *inputs, cache=cache)
    documents: dict[str, dict[str, bool]] = defaultdict(dict)
    scores: dict[str, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    teachers: dict[str, set[str]] = defaultdict(set)
    for query, document, label, score, origin, scorer in tangled.candidates("train").collect().rows():
        if query in records.relevant:
            documents[query][document] = documents[query].get(document, False) or label == 0
            if score is not None:
                scores[query][scorer][document] = score
                teachers[query] |= {scorer} if origin == "distilled" else set()
    assert {*records.candidates} == {*documents} and len(documents) > 30
    for query, found in records.candidates.items():
        assert list(found.documents.items()) == list(documents[query].items())  # also their order
        assert found.scores == scores[query] and found.teachers == teachers[query]
    named = {document for document in tangled.candidates("train").collect()["document_id"]}
    texts = dict(tangled.documents.select("id", "text").collect().rows())
    assert {*records.others} == {name for name in named if texts[name] != NOTHING}
    assert all(text.id == name and len(text.ids) for name, text in records.others.items())


def test_a_text_less_split_is_refused(tangled: Dataset, inputs: tuple[Path, Lexicon], tmp_path: Path) -> None:
    silent = save_dataset(
        tmp_path / "silent", documents=tangled.documents.with_columns(text=pl.lit(NOTHING)), queries=tangled.queries,
        qrels={"train": tangled.qrels("train")}, sources=tangled.manifest.sources, split_rule="all train", seed=0,
    )  # fmt: skip
    for cache in (None, tmp_path / "tokens"):
        with pytest.raises(DatasetError, match="tokenises to nothing"):
            read_records(silent, *inputs, cache=cache)


def test_a_teacher_remembers_so_many_vectors_and_gives_all_that_are_asked_for() -> None:
    encoded: list[list[str]] = []

    def encode(names: list[str]) -> list[str]:
        encoded.append(names)
        return [name.upper() for name in names]

    vectors: VectorCache[str] = VectorCache(3)
    assert vectors.of(["a", "b", "a"], encode) == ["A", "B", "A"]
    assert vectors.of(["b", "c", "d", "e"], encode) == ["B", "C", "D", "E"]
    assert vectors.of(["c", "a"], encode) == ["C", "A"] and vectors.of([], encode) == []
    assert encoded == [["a", "b"], ["c", "d", "e"], ["a"]]
