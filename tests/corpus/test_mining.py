"""Hard negatives: each rule, BM25 and model rankings against plain computations, the dataset that comes out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import warm_processes
import world
from candidates_world import remake
from click.testing import CliRunner

from osparse.cli.main import cli
from osparse.contracts.dataset import Dataset, save_dataset
from osparse.contracts.model import Model
from osparse.contracts.text_map import TextsById
from osparse.corpus import MiningRules, mine, score_candidates
from osparse.corpus.mining.retrievers import Bm25Retriever, ModelRetriever, Ranking
from osparse.corpus.text.analysis import terms
from osparse.encoders.torch_encoder import TextEncoder
from osparse.errors import DatasetError, InputError, ModelError
from osparse.formula.lexicon import load_tokenizer
from osparse.formula.query_encoder import QueryEncoder

DOCUMENTS = {f"{r[0]}:en": r[4] for r in world.RECORDS}


class Listed:
    """Ranks every document it is given: the n-th by id scores 100 - n."""

    name = "listed"

    def __init__(self) -> None:
        self.seen: set[str] = set()

    def rank(self, documents: Mapping[str, str], queries: Sequence[str], k: int) -> Iterator[Ranking]:
        self.seen |= set(documents)
        for _ in queries:
            yield [(name, 100.0 - n) for n, name in enumerate(sorted(documents))][:k]


def rows(dataset: Dataset, query: str) -> list[tuple[str, float]]:
    found = dataset.candidates("train").filter(pl.col("query_id") == query).collect()
    assert set(found["label"]) <= {0.0} and set(found["origin"]) <= {"mined"}
    return list(found.select("document_id", "score").iter_rows())


def test_terms_are_words_and_pairs_of_syllables() -> None:
    assert terms("Deep 학습률 v2.0") == ["deep", "학습", "습률", "v2", "0"]
    assert terms("빵") == ["빵"] and terms("빵집") == ["빵집"] and terms("한글") == ["한글"] and terms("!?") == []


def test_bm25_is_the_formula() -> None:
    queries = ["the moon", "bread oven", "zebra", "tram lines"]
    found = list(Bm25Retriever().rank(DOCUMENTS, queries, 10))
    held = {name: terms(text) for name, text in DOCUMENTS.items()}
    mean = sum(map(len, held.values())) / len(held)
    for query, ranking in zip(queries, found, strict=True):
        wanted = {}
        for name, words in held.items():
            score = 0.0
            for term in terms(query):
                df, tf = sum(term in w for w in held.values()), words.count(term)
                idf = math.log(1 + (len(held) - df + 0.5) / (df + 0.5))
                score += idf * tf / (tf + 1.2 * (0.25 + 0.75 * len(words) / mean))
            if score > 0:
                wanted[name] = score
        assert dict(ranking) == pytest.approx(wanted, rel=1e-4)
        assert ranking == sorted(ranking, key=lambda pair: (-pair[1], pair[0]))
    assert found[2] == []


def test_a_model_ranks_as_it_is_served_for_any_number_of_processes(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("osparse.corpus.mining.retrievers.BLOCK", 3)
    queries = ["the moon", "bread", ""]
    one = list(ModelRetriever(model).rank(DOCUMENTS, queries, 5))
    vectors = TextEncoder.open(model).encode(list(DOCUMENTS.values()))
    asked = QueryEncoder(load_tokenizer(model.path / "tokenizer.json"), model.lexicon)
    for query, ranking in zip(queries, one, strict=True):
        weights = {model.lexicon.tokens[i]: float(model.lexicon.idf[i]) for i in asked.ids(query)}
        scores = {
            n: sum(w * v.get(t, 0.0) for t, w in weights.items()) for n, v in zip(DOCUMENTS, vectors, strict=True)
        }
        wanted = sorted(((n, s) for n, s in scores.items() if s > 0), key=lambda pair: (-pair[1], pair[0]))[:5]
        assert [name for name, _ in ranking] == [name for name, _ in wanted]
        assert dict(ranking) == pytest.approx(dict(wanted), rel=1e-4)
    monkeypatch.setattr("osparse.runtime.spread.get_context", lambda _: warm_processes.context())
    assert list(ModelRetriever(model, processes=2).rank(DOCUMENTS, queries, 5)) == one


def test_a_model_is_opened_once_whatever_the_number_of_blocks(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osparse.corpus.mining.retrievers.BLOCK", 3)
    opened: list[int] = []
    original = TextEncoder.open

    def counted(*args: Any, **kwargs: Any) -> TextEncoder:
        opened.append(1)
        return original(*args, **kwargs)

    monkeypatch.setattr(TextEncoder, "open", counted)
    queries = [record[3] for record in world.RECORDS] * 100  # more than are scored at a time
    rankings = list(ModelRetriever(model).rank(DOCUMENTS, queries, 4))
    assert len(opened) == 1 and len(rankings) == len(queries)
    assert rankings[: len(world.RECORDS)] == rankings[-len(world.RECORDS) :]
    assert list(ModelRetriever(model).rank(DOCUMENTS, [], 4)) == [] and len(opened) == 1


def test_texts_stay_in_the_map(dataset: Dataset, tmp_path: Path) -> None:
    """What the retriever is given is {id: text}, and looks a text up in the file each time."""

    class Reads(Listed):
        def rank(self, documents: Mapping[str, str], queries: Sequence[str], k: int) -> Iterator[Ranking]:
            assert isinstance(documents, TextsById) and "unknown" not in documents
            texts = dict(dataset.documents.select("id", "text").collect().iter_rows())
            assert dict(documents) == {name: texts[name] for name in documents}
            return super().rank(documents, queries, k)

    mine(dataset, tmp_path / "mined", Reads(), MiningRules(margin=2.0))


def test_the_rules(dataset: Dataset, tmp_path: Path) -> None:
    """Of q:moon:en the ranking is bread, clay..., moon, pear, rain, tram; held-back documents are not ranked."""
    retriever = Listed()
    made, report = mine(dataset, tmp_path / "mined", retriever, MiningRules(margin=2.0))
    assert not {"bees:en", "tide:en", "clay:en"} & retriever.seen
    assert rows(made, "q:moon:en") == [
        ("bread:en", 100.0), ("pear:en", 98.0), ("rain:en", 97.0), ("tram:en", 96.0),
        ("bread:ko", 100.0), ("pear:ko", 98.0), ("rain:ko", 97.0), ("tram:ko", 96.0),
    ]  # fmt: skip
    assert "80 negatives of 20 of 20 queries (by listed; a query counts once for each language" in str(report)
    assert report.queries == 20 and report.negatives == 80 and made.manifest.notes["mining"] == report.to_json()
    assert made.manifest.notes["mined_from"] == dataset.fingerprint
    margin, found = mine(dataset, tmp_path / "margin", Listed(), MiningRules(margin=0.985))
    assert [name for name, _ in rows(margin, "q:moon:en")] == ["rain:en", "tram:en", "rain:ko", "tram:ko"]
    assert found.left_out["scores like an answer"] > 0
    window, _ = mine(dataset, tmp_path / "window", Listed(), MiningRules(margin=2.0, first=2, last=3, negatives=1))
    assert [name for name, _ in rows(window, "q:moon:en")] == ["pear:en", "pear:ko"]


def test_copies_and_siblings_of_the_answer_are_left_out(dataset: Dataset, tmp_path: Path) -> None:
    documents = dataset.documents.collect()
    moon = documents.filter(pl.col("id") == "moon:en")
    copy = moon.with_columns(id=pl.lit("copy:en"), group=pl.lit("copy"), text=pl.col("text") + " again")
    sibling = moon.with_columns(id=pl.lit("sibling:en"), text=pl.lit("Quite another text."))
    more = save_dataset(
        tmp_path / "more", documents=pl.concat([documents, copy, sibling]), queries=dataset.queries,
        qrels={split: dataset.qrels(split) for split in ("train", "validation", "test")},
        sources=dataset.manifest.sources, split_rule="tests", seed=0,
    )  # fmt: skip
    made, report = mine(more, tmp_path / "mined", Listed(), MiningRules(margin=2.0))
    assert not {"copy:en", "sibling:en"} & {name for name, _ in rows(made, "q:moon:en")}
    assert {"copy:en", "sibling:en"} <= {name for name, _ in rows(made, "q:rain:en")}
    assert report.left_out == {"copy of an answer": 2, "same group as an answer": 2}


def test_copies_and_siblings_of_what_is_held_back_are_not_ranked(dataset: Dataset, tmp_path: Path) -> None:
    documents = dataset.documents.collect()
    tide = documents.filter(pl.col("id") == "tide:en")  # judged in the test split
    copy = tide.with_columns(id=pl.lit("copy:en"), group=pl.lit("copy"))
    sibling = tide.with_columns(id=pl.lit("sibling:en"), text=pl.lit("Quite another text."))
    free = tide.with_columns(id=pl.lit("free:en"), group=pl.lit(""), text=pl.lit("A text of nobody."))
    more = save_dataset(
        tmp_path / "more", documents=pl.concat([documents, copy, sibling, free]), queries=dataset.queries,
        qrels={split: dataset.qrels(split) for split in ("train", "validation", "test")},
        sources=dataset.manifest.sources, split_rule="tests", seed=0,
    )  # fmt: skip
    retriever = Listed()
    mine(more, tmp_path / "mined", retriever, MiningRules(margin=2.0))
    assert not {"tide:en", "copy:en", "sibling:en"} & retriever.seen and "free:en" in retriever.seen


def test_the_consistency_filter_drops_pairs_whose_answer_ranks_low(dataset: Dataset, tmp_path: Path) -> None:
    made, report = mine(dataset, tmp_path / "mined", Listed(), MiningRules(margin=2.0, consistency=2))
    assert set(made.qrels("train").collect()["query_id"]) == {
        f"q:{g}:{lang}" for g in ("bread", "moon") for lang in ("ko", "en")
    }
    assert report.pairs_dropped == 12
    assert set(made.candidates("train").collect()["query_id"]) <= set(made.qrels("train").collect()["query_id"])


def test_other_candidates_stay_and_ones_own_are_replaced(dataset: Dataset, tmp_path: Path) -> None:
    start = remake(
        dataset, tmp_path / "start",
        [("q:moon:en", "bread:en", 0.0, 5.0, "mined", "listed"), ("q:moon:en", "rain:en", None, 1.0, "distilled", "teacher")],
    )  # fmt: skip
    made, _ = mine(start, tmp_path / "mined", Listed(), MiningRules(margin=2.0, negatives=1))
    found = made.candidates("train").filter(pl.col("query_id") == "q:moon:en").collect()
    assert sorted(found.select("document_id", "score", "scorer").iter_rows()) == [
        ("bread:en", 100.0, "listed"), ("bread:ko", 100.0, "listed"), ("rain:en", 1.0, "teacher"),
    ]  # fmt: skip


def test_an_output_that_is_there_is_refused_before_the_work(mined: Dataset, tmp_path: Path) -> None:
    class Never(Listed):
        def rank(self, documents: Mapping[str, str], queries: Sequence[str], k: int) -> Iterator[Ranking]:
            raise AssertionError("the work was begun")

    with pytest.raises(InputError, match="exists and is not empty; choose another `output`"):
        mine(mined, mined.path, Never())
    with pytest.raises(InputError, match="exists and is not empty; choose another `output`"):
        score_candidates(mined, mined.path, tmp_path / "no teacher")


def test_nothing_found_is_an_error(dataset: Dataset, tmp_path: Path) -> None:
    class Silent(Listed):
        def rank(self, documents: Mapping[str, str], queries: Sequence[str], k: int) -> Iterator[Ranking]:
            yield from ([] for _ in queries)

    with pytest.raises(DatasetError, match="no query got a negative"):
        mine(dataset, tmp_path / "mined", Silent())
    assert not (tmp_path / "mined").exists()
    with pytest.raises(InputError, match="first <= last.*negatives"):
        MiningRules(first=5, last=2, negatives=0)


@pytest.fixture(scope="module")
def mined(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return mine(dataset, tmp_path_factory.mktemp("mined") / "dataset", Listed(), MiningRules(margin=2.0))[0]


def test_a_teacher_scores_answers_and_negatives(mined: Dataset, model: Model, tmp_path: Path) -> None:
    made, report = score_candidates(mined, tmp_path / "scored", model.path, name="sparse")
    found = made.candidates("train").filter(pl.col("scorer") == "sparse").collect()
    assert found.height == report.pairs == 80 + 20 and report.negatives == 80
    scores = {(q, d): s for q, d, s in found.select("query_id", "document_id", "score").iter_rows()}
    texts = dict(mined.documents.select("id", "text").collect().iter_rows())
    asked = dict(mined.queries.select("id", "text").collect().iter_rows())
    queries = QueryEncoder(load_tokenizer(model.path / "tokenizer.json"), model.lexicon)
    vector = TextEncoder.open(model).encode([texts["rain:en"]])[0]
    weights = {model.lexicon.tokens[i]: float(model.lexicon.idf[i]) for i in queries.ids(asked["q:moon:en"])}
    assert scores["q:moon:en", "rain:en"] == pytest.approx(
        sum(w * vector.get(t, 0.0) for t, w in weights.items()), rel=1e-4
    )
    best: dict[str, float] = {}
    for query, document in mined.qrels("train").select("query_id", "document_id").collect().iter_rows():
        best[query] = max(best.get(query, -1e9), scores[query, document])
    negatives = mined.candidates("train").select("query_id", "document_id").collect().rows()
    assert report.false_negative_rate == pytest.approx(sum(scores[p] >= best[p[0]] for p in negatives) / 80)
    with pytest.raises(InputError, match="already"):
        score_candidates(made, tmp_path / "again", model.path, name="sparse")


@pytest.mark.parametrize("kind", ["cross", "dense"])
def test_other_teachers(mined: Dataset, model: Model, tmp_path: Path, kind: str) -> None:
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification, BertModel

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(model.lexicon.tokens), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32,
    )  # fmt: skip
    config.num_labels = 1
    teacher = (BertForSequenceClassification if kind == "cross" else BertModel)(config).eval()
    folder = tmp_path / "teacher"
    teacher.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(model.path)
    tokenizer.save_pretrained(folder)
    made, _ = score_candidates(mined, tmp_path / "scored", folder)
    row = made.candidates("train").filter(
        pl.col("scorer") == "teacher", pl.col("query_id") == "q:moon:en", pl.col("document_id") == "rain:ko"
    )  # fmt: skip
    (score,) = row.collect()["score"]
    query = next(r[3] for r in world.RECORDS if r[0] == "moon")
    document = next(r[2] for r in world.RECORDS if r[0] == "rain")
    with torch.inference_mode():
        if kind == "cross":
            wanted = float(teacher(**tokenizer(query, document, return_tensors="pt")).logits[0, 0])
        else:
            first, second = (
                teacher(**tokenizer(t, return_tensors="pt")).last_hidden_state[0].mean(0) for t in (query, document)
            )
            wanted = float(first @ second)
    assert score == pytest.approx(wanted, rel=1e-3, abs=1e-5)


def test_a_folder_that_is_no_teacher_is_named(mined: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cross-encoder, a bi-encoder or an osparse model"):
        score_candidates(mined, tmp_path / "scored", tmp_path)


def test_the_command_mines_and_scores(dataset: Dataset, model: Model, tmp_path: Path) -> None:
    asked = [
        "corpus",
        "mine",
        str(dataset.path),
        "--output",
        str(tmp_path / "mined"),
        "--margin",
        "2",
        "--teacher",
        str(model.path),
    ]
    shown = CliRunner().invoke(cli, asked)
    assert shown.exit_code == 0, shown.output
    assert "by bm25" in shown.output and "of the negatives score at least as the answer" in shown.output
    scorers = set(Dataset.open(tmp_path / "mined").candidates("train").collect()["scorer"])
    assert scorers == {"bm25", model.path.name}
    wrong = ["corpus", "mine", str(dataset.path), "--output", str(tmp_path / "no"), "--teacher", str(tmp_path)]
    refused = CliRunner().invoke(cli, wrong)
    assert refused.exit_code and "has no config.json" in str(refused.exception) + refused.output
    assert not (tmp_path / "no").exists()
