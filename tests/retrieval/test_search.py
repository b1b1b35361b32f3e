from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import world

from osparse.contracts.dataset import Dataset
from osparse.contracts.model import Model
from osparse.encoders.torch_encoder import TextEncoder
from osparse.errors import ClusterError, InputError, ModelError
from osparse.formula.lucene_rounding import score
from osparse.retrieval.explainer import explain
from osparse.retrieval.searcher import Searcher, search

KINDS = ["client", "plugin", "ml-commons"]
QUERY = "tram lines 노선 ver. 2.0 달"
Make = Callable[[str], Any]


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_the_formula_and_contributions_add_up(
    kind: str, make_cluster: Make, model: Model, dataset: Dataset
) -> None:
    cluster = make_cluster(kind)
    hits = search(cluster, "world", QUERY, top=16, explain=True)
    texts = dict(dataset.documents.select("id", "text").collect().iter_rows())
    vectors = dict(zip(texts, TextEncoder.open(model).encode(list(texts.values())), strict=True))
    query = cluster.encoder.encode(QUERY)
    assert any("." in match.token for hit in hits for match in hit.matched), "a token with a dot must match"
    assert {hit.id for hit in hits} == {i for i, vector in vectors.items() if query.keys() & vector.keys()}
    for hit in hits:
        assert hit.text == texts[hit.id] and hit.lang == hit.id[-2:]
        assert hit.score == pytest.approx(score(query, vectors[hit.id]), rel=1e-6)
        assert sum(match.contribution for match in hit.matched) == pytest.approx(hit.score, rel=1e-6)
        assert [m.contribution for m in hit.matched] == sorted((m.contribution for m in hit.matched), reverse=True)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_top_and_language_are_kept(make_cluster: Make) -> None:
    cluster = make_cluster("client")
    hits = search(cluster, "world", QUERY, top=3, lang="en")
    assert [hit.lang for hit in hits] == ["en"] * 3
    assert all(not hit.matched for hit in hits), "weights are only read when asked for"
    every = [hit for hit in search(cluster, "world", QUERY, top=16) if hit.lang == "en"]
    assert [(hit.id, hit.score) for hit in hits] == [(hit.id, hit.score) for hit in every[:3]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("text", "why"), [("", "is empty"), (" ", "is empty"), ("🍐🍞", "in the model's vocabulary")])
def test_a_query_without_tokens_says_so_and_asks_nothing(kind: str, text: str, why: str, make_cluster: Make) -> None:
    cluster = make_cluster(kind)
    answer = Searcher(cluster, "world").search(text)
    assert answer.hits == [] and why in answer.note
    assert not any(path.endswith("_search") for path, _ in cluster.requests)


def test_no_hit_says_why(make_cluster: Make) -> None:
    answer = Searcher(make_cluster("client"), "world").search(QUERY, lang="fr")
    assert answer.hits == [] and "no document of language fr" in answer.note


@pytest.mark.parametrize("kind", KINDS)
def test_a_byte_that_is_no_text_is_a_question_mark(kind: str, make_cluster: Make) -> None:
    cluster = make_cluster(kind)
    hits = search(cluster, "world", "tram\udcff lines", top=5)
    assert hits and hits == search(cluster, "world", "tram? lines", top=5)
    asked = [body for _, body in cluster.requests if body]
    assert asked[-1] == asked[-2]


def test_an_index_that_is_not_there_is_an_error(make_cluster: Make) -> None:
    with pytest.raises(ClusterError, match="has no index other.*osparse deploy"):
        search(make_cluster("client"), "other", "x")


@pytest.mark.parametrize("kind", KINDS)
def test_explain_divides_the_tokens(kind: str, make_cluster: Make) -> None:
    cluster = make_cluster(kind)
    found = explain(cluster, "world", "tram:en", QUERY, expansions=5)
    (hit,) = [hit for hit in search(cluster, "world", QUERY, top=16, explain=True) if hit.id == "tram:en"]
    assert found.matched == hit.matched
    assert found.score == pytest.approx(hit.score, rel=1e-6)
    query = cluster.encoder.encode(QUERY)
    assert {m.token for m in found.matched} | {t for t, _ in found.query_only} == query.keys()
    assert not {m.token for m in found.matched} & {t for t, _ in found.query_only}
    assert len(found.document_top) == 5 and not {t for t, _ in found.document_top} & query.keys()
    text = next(record[4] for record in world.RECORDS if record[0] == "tram")
    assert found.literal == cluster.encoder.encode(text).keys()


def test_explain_of_an_unknown_document_is_an_error(make_cluster: Make) -> None:
    with pytest.raises(InputError, match="index world has no document 'a/b c'"):
        explain(make_cluster("client"), "world", "a/b c", "x")


@pytest.mark.parametrize("kind", KINDS)
def test_another_table_of_query_weights_needs_no_new_index(kind: str, make_cluster: Make, tmp_path: Path) -> None:
    cluster = make_cluster(kind)
    plain = search(cluster, "world", QUERY, top=16, explain=True)
    weights = {token: min(64.0, 1.0 + i % 5) for i, token in enumerate(cluster.encoder.lexicon.tokens)}
    (tmp_path / "idf.json").write_text(json.dumps(weights))
    searcher = Searcher(cluster, "world", idf=tmp_path / "idf.json")
    hits = {hit.id: hit for hit in searcher.search(QUERY, top=16, explain=True).hits}
    assert hits.keys() == {hit.id for hit in plain}
    for hit in plain:
        wanted = sum(weights[match.token] * match.document_weight for match in hit.matched)
        assert hits[hit.id].score == pytest.approx(wanted, rel=1e-6)
    (tmp_path / "other.json").write_text('{"a": 1.0}')
    with pytest.raises(ModelError, match="does not fit the tokenizer"):
        Searcher(cluster, "world", idf=tmp_path / "other.json")


def test_a_sparse_vector_field_is_asked_by_ids(make_cluster: Make, tmp_path: Path) -> None:
    """It refuses a query token that is no number."""
    cluster = make_cluster("ml-commons")
    lexicon = cluster.encoder.lexicon
    (tmp_path / "idf.json").write_text(json.dumps(dict.fromkeys(lexicon.tokens, 2.0)))
    cluster.index.mappings["_meta"] = replace(cluster.deployment, vector="sparse_vector").to_meta()
    body = Searcher(cluster, "world", idf=tmp_path / "idf.json").body(QUERY, size=7)
    assert body is not None
    (asked,) = body["query"]["neural_sparse"].values()
    tokens = {lexicon.tokens[int(i)]: weight for i, weight in asked["query_tokens"].items()}
    assert tokens == dict.fromkeys(cluster.encoder.encode(QUERY), 2.0)
    assert asked["method_parameters"]["k"] == 7, "or no more than ten are found"
