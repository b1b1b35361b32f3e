from __future__ import annotations

import json

import pytest

from osparse.contracts.deployment import Deployment
from osparse.retrieval.queries import query_body, sendable

PLAIN = ("world", "f" * 64, "1", 400, 64)
CLIENT = Deployment("client", *PLAIN, "u2024", None, None)
PLUGIN = Deployment("client", *PLAIN, "raw", None, None)
ML = Deployment("ml-commons", *PLAIN, "raw", "in", "out")
WEIGHTS = {"pear": 2.0, "2.0": 1.5, "##나무": 0.5}


def test_ml_commons_sends_the_text_alone() -> None:
    body = query_body(ML, "배 2.0", WEIGHTS, size=7)
    assert body is not None and body["size"] == 7
    assert body["query"] == {"neural_sparse": {"sparse_embedding": {"query_text": "배 2.0"}}}
    assert query_body(ML, " \n", WEIGHTS, size=7) is None


def test_the_plugin_gets_raw_tokens_and_a_core_cluster_clauses_without_dots() -> None:
    body = query_body(PLUGIN, "x", WEIGHTS, size=1)
    assert body is not None and body["query"] == {"neural_sparse": {"sparse_embedding": {"query_tokens": WEIGHTS}}}
    body = query_body(CLIENT, "x", WEIGHTS, size=1)
    assert body is not None
    assert body["query"]["bool"]["should"] == [
        {"rank_feature": {"field": f"sparse_embedding.{name}", "linear": {}, "boost": weight}}
        for name, weight in (("pear", 2.0), ("2\u20240", 1.5), ("##나무", 0.5))
    ]


@pytest.mark.parametrize("deployment", [CLIENT, PLUGIN])
def test_no_token_is_no_query(deployment: Deployment) -> None:
    assert query_body(deployment, "text", {}, size=1) is None
    assert query_body(deployment, "text", {"a": 1e-7, "b": 0.0, "c": -1.0, "d": float("nan")}, size=1) is None


def test_only_weights_the_server_takes_are_sent() -> None:
    sent = sendable({"big": 99.0, "most": 64.0, "least": 1e-6, "less": 9e-7, "none": 0.0, "inf": float("inf")})
    assert sent == {"big": 64.0, "most": 64.0, "least": 1e-6}


@pytest.mark.parametrize("deployment", [CLIENT, PLUGIN, ML])
def test_filters_wrap_the_query_and_do_not_score(deployment: Deployment) -> None:
    plain = query_body(deployment, "배", WEIGHTS, size=3)
    recent = {"range": {"date": {"gte": "2024-01-01"}}}
    body = query_body(deployment, "배", WEIGHTS, size=3, lang="ko", filters=[recent])
    assert plain is not None and body is not None
    assert body["query"] == {
        "bool": {"should": [plain["query"]], "minimum_should_match": 1, "filter": [{"term": {"lang": "ko"}}, recent]}
    }
    json.dumps(body, allow_nan=False)
