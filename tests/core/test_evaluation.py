from __future__ import annotations

import json
import math
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import world

from osparse.algorithms.words import words
from osparse.contracts.dataset import Dataset
from osparse.errors import DatasetError
from osparse.evaluation.measures import HIT, MEASURES, NDCG, RECALL, RUN_DEPTH, judged_sets, measure, open_benchmark


def naive_ndcg(qrels: dict[str, int], ranking: list[str]) -> float:
    def dcg(gains: list[int]) -> float:
        return sum(gain / math.log2(rank + 2) for rank, gain in enumerate(gains[:10]))

    return dcg([qrels.get(d, 0) for d in ranking]) / dcg(sorted(qrels.values(), reverse=True))


def test_measures_equal_the_naive_ones() -> None:
    rng = np.random.default_rng(0)
    documents = [f"d{i}" for i in range(150)]
    qrels, run = {}, {}
    for q in range(40):
        relevant = rng.choice(documents, rng.integers(1, 15), replace=False)
        qrels[f"q{q}"] = {str(d): int(rng.integers(1, 4)) for d in relevant}
        run[f"q{q}"] = [str(d) for d in rng.permutation(documents)[: rng.integers(1, 150)]]
    found = measure(qrels, run)
    for name, judged in qrels.items():
        assert found.per_query[NDCG][name] == pytest.approx(naive_ndcg(judged, run[name]))
        assert found.per_query[HIT][name] == float(run[name][0] in judged)
        assert found.per_query[RECALL][name] == pytest.approx(len(set(run[name][:100]) & set(judged)) / len(judged))


def test_ndcg_equals_the_hand_computed_example() -> None:
    # Ranks 1, 3: (3 + 1 / log2(4)) / (3 + 2 / log2(3) + 1 / log2(4)), linear gains as in trec_eval.
    found = measure({"q": {"a": 3, "b": 1, "c": 2}}, {"q": ["a", "x", "b"]})
    assert found.mean(NDCG) == pytest.approx(3.5 / (3.5 + 2 / math.log2(3)))
    assert found.mean(RECALL) == pytest.approx(2 / 3)


def test_a_missing_query_counts_as_zero_and_rank_rules() -> None:
    found = measure({"a": {"x": 1}, "b": {"x": 1}, "c": {"x": 1}}, {"a": ["x"], "b": []})
    assert [found.mean(m) for m in MEASURES] == pytest.approx([1 / 3] * 3)
    assert found.queries == 3
    assert [list(found.per_query[m]) for m in MEASURES] == [["a", "b", "c"]] * 3, "paired tests need one order"
    assert found.subset(frozenset({"b", "c"})).mean(NDCG) == 0
    for order in (["y", "x"], ["z", "x"]):  # ids before and after the relevant one: no hidden tie breaking
        assert measure({"q": {"x": 1}}, {"q": order}).mean(NDCG) == pytest.approx(1 / math.log2(3))


def test_margin_is_the_normal_interval() -> None:
    found = measure({f"q{i}": {"x": 1} for i in range(10)}, {f"q{i}": ["x"] for i in range(5)})
    assert found.margin(HIT) == pytest.approx(1.96 * math.sqrt(0.25 * 10 / 9 / 10))


def test_directions_of_a_dataset(dataset: Dataset) -> None:
    sets = judged_sets(dataset, "test")
    assert [s.direction for s in sets] == ["en->en", "ko->ko", "en->ko", "ko->en"]
    for found in sets:
        # Ranked against all eight documents of the language, not the two judged ones.
        assert found.document_ids == sorted(f"{record[0]}:{found.document_lang}" for record in world.RECORDS)
        assert set(found.qrels) == set(found.queries) == {f"q:{g}:{found.query_lang}" for g in ("tide", "clay")}
        assert found.qrels[f"q:clay:{found.query_lang}"] == {f"clay:{found.document_lang}": 1}
    assert [len(s.no_shared) for s in sets] == [0, 0, 2, 2]


def test_a_shared_word_is_a_whole_one() -> None:
    assert set(words("GTK+ 3.0용 도구, e-mail")) == {"gtk", "3", "0", "용", "도구", "e", "mail"}
    assert set(words("앱")).isdisjoint(words("application"))
    assert words("Café 日本語") == ["café", "日本語"] == words(unicodedata.normalize("NFD", "Café 日本語"))
    assert words(unicodedata.normalize("NFD", "한국 snake_case")) == ["한국", "snake", "case"]


def write_beir(folder: Path, dataset: Dataset, *, lang: bool) -> Path:
    (folder / "qrels").mkdir(parents=True)
    for name, frame in (("corpus", dataset.documents), ("queries", dataset.queries)):
        rows = frame.select("id", "text", "lang").collect().iter_rows()
        lines = [{"_id": i, "title": "", "text": t, "metadata": {"lang": la} if lang else {}} for i, t, la in rows]
        (folder / f"{name}.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    rows = dataset.qrels("test").select("query_id", "document_id").collect().iter_rows()
    judged = ["query-id\tcorpus-id\tscore", *(f"{q}\t{d}\t1" for q, d in rows)]
    (folder / "qrels" / "test.tsv").write_text("\n".join(judged))
    return folder


def test_a_beir_folder_gives_the_same_sets(dataset: Dataset, tmp_path: Path) -> None:
    ours = open_benchmark(dataset.path)
    beir = open_benchmark(write_beir(tmp_path / "beir", dataset, lang=True))
    assert beir.sets == ours.sets
    assert beir.languages == ours.languages == {"en": 8, "ko": 8}
    assert sorted(sum(beir.texts(3), [])) == sorted(sum(ours.texts(5), []))
    plain = open_benchmark(write_beir(tmp_path / "plain", dataset, lang=False))
    assert plain.sets == ours.sets, "languages that no row names are detected"
    assert plain.fingerprint != beir.fingerprint


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (b"q:tide:ko\tnowhere\t1", "beir: 1 judgements name a missing or empty document, for example 'nowhere'"),
        (b"nobody\ttide:ko\t0", "beir: 1 judgements name a missing or empty query, for example 'nobody'"),
        (b"q:tide:ko\ttide:ko\tnan", "test.tsv:2: the score must be a finite number, found 'nan'"),
        (b"q:tide:ko\ttide\xff\t1", "test.tsv:2: not UTF-8"),
    ],
)
def test_a_judgement_that_cannot_be_used_is_not_left_out(
    row: bytes, message: str, dataset: Dataset, tmp_path: Path
) -> None:
    folder = write_beir(tmp_path / "beir", dataset, lang=True)
    qrels = folder / "qrels" / "test.tsv"
    head, rest = qrels.read_bytes().split(b"\n", 1)
    qrels.write_bytes(b"\n".join([head, row, rest]))
    with pytest.raises(DatasetError, match=message):
        open_benchmark(folder, strict=True)


def test_a_query_does_not_find_itself() -> None:
    others = [f"d{i}" for i in range(99)]
    found = measure({"q": {"x": 1}}, {"q": ["q", *others, "x"]})
    assert found.mean(RECALL) == 1, "x is the hundredth of the others: a run asks for one more than is looked at"
    assert RUN_DEPTH == len(["q", *others, "x"])
    assert measure({"q": {"x": 1}}, {"q": ["q", "x"]}).mean(NDCG) == 1
    assert measure({"1": {"1": 1}}, {"1": ["1"]}).mean(HIT) == 1, "judged to answer it, so only the names are equal"


def test_what_is_wrong_with_a_beir_folder_is_said(dataset: Dataset, tmp_path: Path) -> None:
    folder = write_beir(tmp_path / "beir", dataset, lang=True)
    with pytest.raises(DatasetError, match="no dev qrels; it has: test"):
        open_benchmark(folder, "dev")
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq 1 1\n")
    with pytest.raises(DatasetError, match=r"test.tsv:2: expected query-id.*'q 1 1'"):
        open_benchmark(folder)
    with (folder / "queries.jsonl").open("a") as file:
        file.write('\n{"id": "x"}\n')
    with pytest.raises(DatasetError, match=r"queries.jsonl:17: expected.*'id'"):
        open_benchmark(folder)
    with pytest.raises(DatasetError, match="is not a dataset"):
        open_benchmark(tmp_path)
