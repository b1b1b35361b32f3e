"""The search bodies for a deployment: which template they come from follows from how it serves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from osparse.contracts.deployment import Deployment, feature_name
from osparse.opensearch_templates import render

SEISMIC_FILTERED = 10_000
"""``k`` of a filtered query on a sparse_vector field, at least. Where SEISMIC is at work, the server scores all
documents of a segment that the filter lets through if they are at most ``k``; else it filters the ``k`` best of all
documents, which may leave none. The clusters that are visited do not depend on ``k``."""


def asks_by_text(deployment: Deployment) -> bool:
    """Whether the query holds the text and the cluster's tokenizer model gives its tokens their weights.

    Not inside a nested query, which older enrichers pass over; and not on a sparse_vector field, where a text query
    through an alias is refused (the server looks up words instead of ids unless the request names the concrete index).
    """
    return deployment.mode != "client" and not deployment.chunks and deployment.vector != "sparse_vector"


def query_keys(deployment: Deployment, weights: Mapping[str, float], ids: Mapping[str, int]) -> dict[str, float]:
    """Query weights under the names that the field has for its tokens: a sparse_vector has ids, as strings."""
    if deployment.vector != "sparse_vector":
        return dict(weights)
    return {str(ids[token]): weight for token, weight in weights.items()}


def text_body(deployment: Deployment, text: str, size: int) -> dict[str, Any]:
    """A search body for a text, whose tokens the cluster's tokenizer model weighs (ml-commons)."""
    template = "query_sparse_vector_text" if deployment.vector == "sparse_vector" else "query_neural_sparse_text"
    return _nested(deployment, render(template, size=size, field=deployment.field, text=text))


def tokens_body(deployment: Deployment, weights: Mapping[str, float], size: int) -> dict[str, Any]:
    """A search body for query weights, in the form this deployment's cluster understands.

    Args:
        weights: As :func:`query_keys` names the tokens.
    """
    if deployment.vector == "sparse_vector":
        body = render("query_sparse_vector_tokens", size=size, field=deployment.field, tokens=dict(weights))
    elif deployment.key_style == "raw":
        body = render("query_neural_sparse_tokens", size=size, field=deployment.field, tokens=dict(weights))
    else:
        clauses = [
            render("clause_rank_feature", field=deployment.field, feature=feature_name(token, "u2024"), weight=weight)
            for token, weight in weights.items()
        ]
        body = render("query_rank_features", size=size, field=deployment.field, clauses=clauses)
    return _nested(deployment, body)


def summed_body(bodies: Mapping[str, Mapping[str, Any]], boosts: Mapping[str, float], size: int) -> dict[str, Any]:
    """One search body of those of several sparse fields: a document's score is the sum of theirs, each times its boost.

    Args:
        bodies: Field -> its search body, without filters.
    """
    queries = [_boosted(body["query"], boosts[field]) for field, body in bodies.items()]
    return dict(render("query_summed", size=size, fields=[*bodies], queries=queries))


def _boosted(query: Mapping[str, Any], boost: float) -> Mapping[str, Any]:
    return query if boost == 1 else dict(render("query_boosted", query=dict(query), boost=boost))


def filtered_body(
    deployment: Deployment, body: Mapping[str, Any], filters: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """``body`` whose hits satisfy ``filters`` too, with the same scores.

    A sparse_vector query gets them a second time inside, or SEISMIC would choose its documents without them.
    """
    if not filters:
        return dict(body)
    query = body["query"]
    if deployment.vector == "sparse_vector":
        query = _with_inner_filter(query, deployment.field, filters)
    return with_filters({**body, "query": query}, filters)


def with_filters(body: Mapping[str, Any], filters: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """``body`` whose hits satisfy ``filters`` too, with the same scores, for a query that need not know of them."""
    if not filters:
        return dict(body)
    return {**body, "query": render("query_filtered", query=body["query"], filters=list(filters))}


def _with_inner_filter(query: Mapping[str, Any], field: str, filters: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    clause = query["neural_sparse"][field]
    chosen = clause["method_parameters"]
    parameters = {
        **chosen,
        "k": max(chosen["k"], SEISMIC_FILTERED),
        "filter": render("filter_all", clauses=list(filters)),
    }
    return dict(render("clause_neural_sparse", field=field, clause={**clause, "method_parameters": parameters}))


def _nested(deployment: Deployment, body: dict[str, Any]) -> dict[str, Any]:
    """Chunks of a document are nested: the query goes to their path, and the best chunk's score counts."""
    if deployment.chunks:
        path = deployment.field.rpartition(".")[0]
        return {**body, "query": render("query_nested", path=path, query=body["query"])}
    return dict(body)
