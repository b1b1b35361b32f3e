"""The search side of the test server: indices with their documents, and the queries osparse sends."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from mlcommons_index import Index
from mlcommons_refusals import QueryRefused, Refused
from mlcommons_values import (
    KINDS,
    BadDate,
    aggregations,
    matches,
    shown,
    sort_key,
    sort_values,
    values_of,
)

from osparse.formula.lucene_rounding import quantise

Tokens = Callable[[dict[str, Any]], dict[str, float]]
"""A neural_sparse clause -> its query tokens; knows the models and the search pipeline."""


def search(index: Index, body: dict[str, Any], tokens: Tokens) -> dict[str, Any]:
    """Score every document; ties by id."""
    scores = _scores(index, body.get("query", {"match_all": {}}), tokens)
    ranked = sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))
    sort, properties = body.get("sort", []), index.mappings.get("properties", {})
    if "rescore" in body:
        if sort:
            raise sorted_and_rescored(index.name)
        ranked = _rescored(index, ranked, body["rescore"], tokens)
    values = {i: sort_values(i, s, index.seq_nos[i], index.documents[i], properties, sort) for i, s in ranked}
    if sort:
        ranked.sort(key=lambda pair: sort_key(values[pair[0]], sort))
    following = ranked
    if "search_after" in body:
        after = sort_key(body["search_after"], sort)
        following = [pair for pair in ranked if after < sort_key(values[pair[0]], sort)]
    scored = not sort or body.get("track_scores", False)
    hits = [
        {"_index": index.name, "_id": i, "_score": score if scored else None,
         "_seq_no": index.seq_nos[i], "_primary_term": 1,
         "_source": shown(index.documents[i], body.get("_source", True)), **({"sort": values[i]} if sort else {})}
        for i, score in following[body.get("from", 0) : body.get("from", 0) + body.get("size", 10)]
    ]  # fmt: skip
    top = max(scores.values()) if scores and scored else None
    answer = {
        "took": 1, "timed_out": False, "_shards": {"total": 1, "successful": 1, "skipped": 0, "failed": 0},
        "hits": {"total": {"value": len(ranked), "relation": "eq"}, "max_score": top, "hits": hits},
    }  # fmt: skip
    if "aggs" in body:
        sources = [index.documents[i] for i, _ in ranked]
        answer["aggregations"] = aggregations(body["aggs"], sources, properties)
    return answer


def sorted_and_rescored(index: str) -> Refused:
    reason = "Cannot use [sort] option in conjunction with [rescore]."
    shard = {
        "shard": 0,
        "index": index,
        "node": "node",
        "reason": {"type": "illegal_argument_exception", "reason": reason},
    }
    return Refused(400, "search_phase_execution_exception", "all shards failed", ("illegal_argument_exception", reason),
                   failed_shards=[shard])  # fmt: skip


def _rescored(
    index: Index, ranked: list[tuple[str, float]], rescore: dict[str, Any], tokens: Tokens
) -> list[tuple[str, float]]:
    """The first hits of the window with the second query's score added, sorted anew; the others stay behind them."""
    window = rescore["window_size"]
    more = _scores(index, rescore["query"]["rescore_query"], tokens)
    first = [(i, float(np.float32(score + more.get(i, 0.0)))) for i, score in ranked[:window]]
    return [*sorted(first, key=lambda pair: (-pair[1], pair[0])), *ranked[window:]]


def merged(answers: list[dict[str, Any]], size: int) -> dict[str, Any]:
    """One answer of the answers of several indices."""
    if len(answers) == 1:
        return answers[0]
    hits = sorted((hit for answer in answers for hit in answer["hits"]["hits"]), key=lambda hit: -(hit["_score"] or 0))
    total = {"value": sum(answer["hits"]["total"]["value"] for answer in answers), "relation": "eq"}
    shards = {"total": len(answers), "successful": len(answers), "skipped": 0, "failed": 0}
    top = hits[0]["_score"] if hits else (None if answers else 0.0)
    found = {"total": total, "max_score": top, "hits": hits[:size]}
    return {"took": 1, "timed_out": False, "_shards": shards, "hits": found}


def _scores(index: Index, query: dict[str, Any], tokens: Tokens) -> dict[str, float]:
    ((kind, clause),) = query.items()
    if kind in ("match_all", "function_score"):
        return dict.fromkeys(index.documents, 1.0)
    if kind == "range" and "_seq_no" in clause:
        limits = clause["_seq_no"]
        return {i: 1.0 for i in index.documents if limits["gt"] < index.seq_nos[i] <= limits["lte"]}
    if kind == "exists" and clause == {"field": "_routing"}:
        return {}
    if kind == "ids":
        return {i: 1.0 for i in clause["values"] if i in index.documents}
    if kind in KINDS:
        return _with_value(index, kind, clause)
    if kind == "neural_sparse":
        return _neural_sparse(index, clause, tokens)
    if kind in ("multi_match", "match"):
        return _words(index, clause)
    if kind == "nested":
        return _nested(index, clause, tokens)
    if kind == "hybrid":
        parts = [_scores(index, one, tokens) for one in clause["queries"]]
        return {i: sum(part.get(i, 0.0) for part in parts) for i in set().union(*parts)}
    if kind == "rank_feature":
        field, _, feature = clause["field"].rpartition(".")
        return _linear(index, field, {feature: clause.get("boost", 1.0)})
    if kind == "bool":
        return _bool(index, clause, tokens)
    raise Refused(400, "parsing_exception", f"unknown query [{kind}]")


def _nested(index: Index, clause: dict[str, Any], tokens: Tokens) -> dict[str, float]:
    """Every object below the path is scored as a document of its own, and the best one counts."""
    if clause.get("score_mode") != "max":
        raise Refused(400, "parsing_exception", "only score_mode max is known here")
    path, parts, owners = clause["path"], dict[str, dict[str, Any]](), dict[str, str]()
    for i, source in index.documents.items():
        for number, part in enumerate(source.get(path) or []):
            owners[f"{i}#{number}"] = i
            parts[f"{i}#{number}"] = {f"{path}.{name}": value for name, value in part.items()}
    within = copy.copy(index)
    within.documents = parts
    best = dict[str, float]()
    for part_id, score in _scores(within, clause["query"], tokens).items():
        best[owners[part_id]] = max(score, best.get(owners[part_id], score))
    return best


def _with_value(index: Index, kind: str, clause: dict[str, Any]) -> dict[str, float]:
    if kind == "exists" and clause["field"] in index.fields("sparse_vector"):
        raise QueryRefused("[sparse_vector] fields do not support [exists] queries", index.name)
    properties = index.mappings.get("properties", {})
    try:
        return {i: 1.0 for i, source in index.documents.items() if matches(kind, clause, source, properties)}
    except BadDate as problem:
        raise Refused(400, "parse_exception", str(problem)) from None


def _words(index: Index, clause: dict[str, Any]) -> dict[str, float]:
    """The number of the query's words in a document's text."""
    words = set(str(clause["query"] if "query" in clause else next(iter(clause.values()))).lower().split())
    counts = {i: len(words & set(str(source.get("text")).lower().split())) for i, source in index.documents.items()}
    return {i: float(count) for i, count in counts.items() if count}


def _neural_sparse(index: Index, clause: dict[str, Any], tokens: Tokens) -> dict[str, float]:
    clause = {k: v for k, v in clause.items() if k != "boost"}
    ((field, body),) = clause.items()
    if "query_text" not in body and "query_tokens" not in body:
        reason = "either query_text field or query_tokens field must be provided for [neural_sparse] query"
        raise Refused(400, "illegal_argument_exception", reason)
    if body.get("query_text") == "":
        raise Refused(400, "illegal_argument_exception", "query_text field can not be empty")
    if body.get("model_id") and body.get("analyzer"):
        raise Refused(400, "illegal_argument_exception", f"Cannot use both [model_id: {body['model_id']}] and [analyzer: "
                      f"{body['analyzer']}] for neural sparse query tokenization.")  # fmt: skip
    found = body["query_tokens"] if "query_tokens" in body else tokens({"field": field, **body})
    if field in index.fields("sparse_vector") and not all(token.isdecimal() for token in found):
        raise QueryRefused("Query tokens should be valid integer", index.name)
    if not index.has_weights(field):
        raise QueryRefused("[neural_sparse] query only works on [rank_features] fields", index.name)
    for weight in found.values():
        if not 0 < np.float32(weight) <= 64:
            raise QueryRefused(f"weight must be in (0, 64.0], got: {np.float32(weight)}", index.name)
    boost = body.get("boost", 1.0)
    query = {token: weight * boost for token, weight in found.items()}
    scores = _linear(index, field, query)
    return _seismic(index, field, body, scores, tokens, query) if field in index.fields("sparse_vector") else scores


def _seismic(
    index: Index, field: str, body: dict[str, Any], scores: dict[str, float], tokens: Tokens, query: dict[str, float]
) -> dict[str, float]:
    """Where segments hold ``approximate_threshold`` documents the ``k`` best of all, then the filter; all that the
    filter lets through if they are at most ``k``, exactly. Below the threshold all that it lets through."""
    chosen = body.get("method_parameters", {})
    filter_, k = chosen.get("filter"), chosen.get("k", 10)
    if filter_ is not None and not isinstance(filter_, dict):
        raise Refused(400, "parsing_exception", "[_na] query malformed, must start with start_object")
    passed = index.documents.keys() if filter_ is None else _scores(index, filter_, tokens).keys()
    if index.approximate(field) and not (filter_ is not None and len(passed) <= k):
        scores = _approximate(index, field, query)
        scores = dict(sorted(scores.items(), key=lambda pair: -pair[1])[:k])
    return {i: score for i, score in scores.items() if i in passed}


def clustered(index: Index, field: str) -> int:
    """Postings of the field that are in clusters: at most ``n_postings`` of each token; none of an exact index."""
    if not index.approximate(field):
        return 0
    kept = int(index.seismic_parameters(field).get("n_postings", 160))
    counts = Counter(token for source in index.documents.values() for token in (source.get(field) or {}))
    return sum(min(kept, count) for count in counts.values())


def _approximate(index: Index, field: str, query: dict[str, float]) -> dict[str, float]:
    """Only the ``n_postings`` largest weights of each token are in a cluster and lead to their documents, which are
    then scored by all their weights, each as a byte."""
    seismic, parameters = index.seismic(field), index.seismic_parameters(field)
    postings: dict[str, list[tuple[float, str]]] = {}
    for i, source in index.documents.items():
        for token, weight in (source.get(field) or {}).items():
            postings.setdefault(token, []).append((weight, i))
    kept = int(parameters.get("n_postings", 160))
    found = {i for token in query for _, i in sorted(postings.get(token, []), reverse=True)[:kept]}
    asked = {int(token): weight for token, weight in query.items()}
    scores = {i: seismic.score(asked, {int(t): w for t, w in index.documents[i][field].items()}) for i in found}
    return {i: score for i, score in scores.items() if score > 0}


def _linear(index: Index, field: str, query: dict[str, float]) -> dict[str, float]:
    """w * S summed over the features, S as FeatureField stores it; of a document in pieces the best piece's."""
    scores = {}
    for i, source in index.documents.items():
        pieces = [stored for stored in values_of(source, field) if isinstance(stored, dict) and query.keys() & stored]
        if pieces:
            scores[i] = max(_product(stored, query) for stored in pieces)
    return scores


def _product(stored: dict[str, float], query: dict[str, float]) -> float:
    shared = [token for token in query if token in stored]
    kept = quantise(np.array([stored[t] for t in shared], np.float32))
    return float(np.float32(sum(float(np.float32(query[t])) * float(s) for t, s in zip(shared, kept, strict=True))))


def _bool(index: Index, clause: dict[str, Any], tokens: Tokens) -> dict[str, float]:
    def many(name: str) -> list[dict[str, float]]:
        given = clause.get(name, [])
        return [_scores(index, one, tokens) for one in (given if isinstance(given, list) else [given])]

    should, must_not = many("should"), many("must_not")
    must = many("must") + [dict.fromkeys(found, 0.0) for found in many("filter")]
    ids = set().union(*should) if should and not must and not must_not else set(index.documents)
    for found in must:
        ids &= found.keys()
    if clause.get("minimum_should_match") == 1:
        ids &= set().union(*should)
    ids -= set().union(*must_not)
    boost = float(clause.get("boost", 1.0))
    return {i: boost * sum(found.get(i, 0.0) for found in [*should, *must]) for i in ids}
