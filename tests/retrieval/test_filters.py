"""Filters under settings that need several requests, and in an evaluation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from osparse.contracts.dataset import Dataset
from osparse.errors import InputError
from osparse.evaluation.measures import open_benchmark
from osparse.formula.query_encoder import QueryEncoder
from osparse.retrieval import Feedback, Searcher, Setting, evaluate
from osparse.retrieval.serving.highlights import highlights
from osparse.retrieval.serving.settings import Hybrid, TwoPhase

Make = Callable[[str], Any]
KINDS = ["client", "plugin", "ml-commons"]
QUERY = "tram lines 노선 ver. 2.0 달"
ENGLISH = {"term": {"lang": "en"}}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "setting", [Setting(hybrid=Hybrid()), Setting(feedback=Feedback()), Setting(two_phase=TwoPhase())], ids=str
)
def test_a_filter_reaches_every_part_of_a_search(kind: str, setting: Setting, make_cluster: Make) -> None:
    cluster = make_cluster(kind)
    searcher = Searcher(cluster, "world", setting=setting)
    aggregations = {"langs": {"terms": {"field": "lang"}}}
    cluster.requests.clear()
    answer = searcher.search(QUERY, top=16, filter="lang:en", aggregations=aggregations, explain=True)
    assert answer.hits and {hit.lang for hit in answer.hits} == {"en"} and all(hit.text for hit in answer.hits)
    assert any(hit.matched for hit in answer.hits)
    (bucket,) = answer.aggregations["langs"]["buckets"]
    assert bucket == {"key": "en", "doc_count": len(answer.hits)}
    assert searcher.search(QUERY, top=16, lang="en").hits == searcher.search(QUERY, top=16, filter=ENGLISH).hits


@pytest.mark.parametrize("setting", [Setting(hybrid=Hybrid()), Setting(feedback=Feedback())], ids=str)
def test_hits_of_several_requests_have_their_texts(setting: Setting, make_cluster: Make) -> None:
    answer = Searcher(make_cluster("client"), "world", setting=setting).search(QUERY)
    assert answer.hits and all(hit.text and not hit.matched for hit in answer.hits)


def test_a_sort_says_that_it_leaves_the_recorded_setting_out(make_cluster: Make) -> None:
    cluster = make_cluster("client")
    searcher = Searcher(cluster, "world", setting=Setting(hybrid=Hybrid()))
    answer = searcher.search(QUERY, top=16, sort="lang,_score")
    keys = [(hit.lang, -hit.score, hit.id) for hit in answer.hits]
    assert keys == sorted(keys) and "the recorded search setting is not applied" in answer.note
    plain = Searcher(cluster, "world").search(QUERY, top=16)
    assert {hit.id: hit.score for hit in answer.hits} == {hit.id: hit.score for hit in plain.hits}
    with pytest.raises(InputError, match="`feedback` changes the scores, and `sort` orders by fields"):
        Searcher(cluster, "world", feedback=Feedback()).search(QUERY, sort="lang")


@pytest.mark.parametrize("kind", KINDS)
def test_an_evaluation_says_what_its_filter_leaves_out(kind: str, make_cluster: Make, dataset: Dataset) -> None:
    data, cluster = open_benchmark(dataset.path), make_cluster(kind)
    plain = evaluate(data, cluster=cluster, index="world")
    report = evaluate(data, cluster=cluster, index="world", filter="lang:en")
    judged = {document for one in data.sets for grades in one.qrels.values() for document in grades}
    korean = {document for document in judged if document.endswith(":ko")}
    lost = sum(len(one.queries) for one in data.sets if one.document_lang == "ko")
    (note,) = [note for note in report.notes if "leaves out" in note]
    assert f"leaves out {len(korean)} of {len(judged)} judged documents" in note
    assert f"{lost} queries have no relevant document left" in note
    assert report.systems[0]["filter"] == "lang:en" and report.key != plain.key
    for before, after in zip(plain.rows, report.rows, strict=True):
        to_english = after.direction.endswith("en")
        assert after.figures == (before.figures if to_english else dict.fromkeys(before.figures, 0.0))
    with pytest.raises(InputError, match="`filter` needs `index`"):
        evaluate(data, baseline="bm25", filter="lang:en")


def test_highlights_are_the_largest_contributions_in_the_order_of_the_text(make_cluster: Make) -> None:
    encoder: QueryEncoder = make_cluster("client").encoder
    filler = "bread " * 120
    text = f"{filler}moon {filler}tram {filler}harbour"
    assert len(encoder.ids(text)) < len(encoder.spans(text)), "the tokenizer cuts what is highlighted"
    tokens = {token: weight for word, weight in (("tram", 3.0), ("moon", 2.0)) for token in encoder.encode(word)}
    moon, tram = highlights(encoder, text, {**tokens, "no such token": 1.0}).fragments
    assert "<em>moon</em>" in moon and "<em>tram</em>" in tram
    assert all(len(fragment) < 200 and fragment[0] == fragment[-1] == "\u2026" for fragment in (moon, tram))
    assert "no such token" in highlights(encoder, text, {"no such token": 1.0}).expansions
