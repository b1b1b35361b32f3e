"""Recall@10 of an approximate field, against exact scores computed in another way; and what a query log says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from lookup_bundle import TEXTS
from mlcommons_server import mlcommons_server

from osparse.contracts.bundle import Bundle
from osparse.deployer import Cluster, deploy, index_documents
from osparse.errors import ClusterError, InputError
from osparse.retrieval import Searcher
from osparse.retrieval.monitoring.query_log import examine_queries, read_query_log
from osparse.retrieval.monitoring.recall import recall, sample_queries
from osparse.retrieval.serving.passes import Passes, Row


@pytest.fixture
def cluster(own_cache: None) -> Iterator[Cluster]:
    with mlcommons_server() as server:
        yield Cluster(server.url)


@pytest.fixture
def bundle(lookup: Bundle) -> Bundle:
    return lookup


def served(cluster: Cluster, bundle: Bundle, field: str = "sparse_vector") -> Searcher:
    deploy(bundle, cluster, "products", serving={"field": field})
    words = sorted({word for text in TEXTS for word in text.split()})
    texts = [*TEXTS, *(" ".join(words[n : n + 5]) for n in range(0, len(words) - 5, 2))]
    rows = [json.dumps({"id": str(n), "title": text, "text": text}) for n, text in enumerate(texts)]
    Path("d.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    index_documents(cluster, "products", [Path("d.jsonl")])
    return Searcher(cluster, "products")


def test_an_exact_search_has_recall_1_and_a_lossy_one_what_it_lost(
    cluster: Cluster, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search that loses its first n of N hits has recall (N - n) / N."""
    searcher = served(cluster, bundle)
    asked = sample_queries(cluster, "products", 8)
    assert 5 <= len(asked) <= 8, "a document without a text makes no query"
    exact = recall(searcher, asked)
    assert exact.mean == exact.lowest == 1.0 and exact.queries == len(set(asked))
    whole = Passes.hits
    numbers = [len(rows) for rows in searcher.passes.hits(list(dict.fromkeys(asked)), size=10)]

    def lossy(passes: Passes, texts: Sequence[str], **options: Any) -> list[list[Row]]:
        return [rows[1:] for rows in whole(passes, texts, **options)]

    monkeypatch.setattr(Passes, "hits", lossy)
    measured = recall(searcher, asked)
    assert measured.mean == pytest.approx(sum((n - 1) / n for n in numbers) / len(numbers))
    assert measured.lowest == pytest.approx(min((n - 1) / n for n in numbers))


def test_recall_needs_an_approximate_field_and_a_match(cluster: Cluster, bundle: Bundle) -> None:
    searcher = served(cluster, bundle)
    with pytest.raises(ClusterError, match="none of the 1 queries matches"):
        recall(searcher, ["\u7bc6"])


def test_recall_of_exact_scores_is_refused(cluster: Cluster, bundle: Bundle) -> None:
    with pytest.raises(InputError, match="whose scores are exact"):
        recall(served(cluster, bundle, "rank_features"), ["pears"])


def test_a_query_log(cluster: Cluster, bundle: Bundle, tmp_path: Path) -> None:
    searcher = served(cluster, bundle, "rank_features")
    log = tmp_path / "log"
    log.write_text(f'\u7bc6\n{TEXTS[0]}\n\n{{"user_query": "\u7bc6 \u7bc6"}}\n{{open\n{TEXTS[0]}\n', encoding="utf-8")
    assert read_query_log(log) == ["\u7bc6", TEXTS[0], "\u7bc6 \u7bc6", "{open", TEXTS[0]]
    assert read_query_log(log, 2) == ["{open", TEXTS[0]]
    known, unknown = searcher.encoder.count_unknown(TEXTS[0]), searcher.encoder.count_unknown("\u7bc6 \u7bc6")
    assert known[1] == 0 < known[0] and unknown[0] == unknown[1] > 0
    said = examine_queries(searcher, [TEXTS[0], TEXTS[0], "\u7bc6 \u7bc6"])
    assert said.queries == 3 and said.zero_hits == pytest.approx(1 / 3)
    assert said.unknown_tokens == pytest.approx(unknown[0] / (2 * known[0] + unknown[0]))
    (tmp_path / "wrong").write_text('{"q": "pears"}\n')
    with pytest.raises(InputError, match="one of the fields query, user_query, text"):
        read_query_log(tmp_path / "wrong")
