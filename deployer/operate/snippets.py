"""The lines to paste into Dashboards Dev Tools after a deploy, and the index pattern as a saved object."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from osparse.contracts.bundle import Bundle
from osparse.contracts.deployment import Deployment
from osparse.deployer import names
from osparse.deployer.index.layout import Serving
from osparse.encoders.onnx_encoder import open_query_encoder
from osparse.opensearch_templates import render
from osparse.opensearch_templates.queries import (
    asks_by_text,
    filtered_body,
    query_keys,
    summed_body,
    text_body,
    tokens_body,
)

_SIZE = 10
_WIDTH = 110
ANALYZERS = {30_522: "bert-uncased", 105_879: "mbert-uncased"}
"""Vocabulary size -> the analyzer that OpenSearch brings for it."""


def snippets(
    bundle: Bundle,
    deployment: Deployment,
    index: str,
    serving: Serving | None = None,
    others: Mapping[str, Bundle] | None = None,
) -> str:
    """Searches that work as they stand, the plainest first: by text in ml-commons mode, by tokens in client mode.

    Args:
        others: Fingerprint -> bundle, of the further sparse fields that another bundle encodes.
    """
    calls = [*_calls(bundle, deployment, index, serving)]
    if deployment.fields:
        whole = _all_fields(deployment, {**(others or {}), bundle.fingerprint: bundle}, example_text(bundle))
        calls.insert(0, (f"# all sparse fields: {example_text(bundle)}\n", f"GET {index}/_search", whole))
    found = [f"{note}{call}\n{compact(body)}" for note, call, body in calls]
    return "\n\n".join([*found, f"GET {index}/_count"]) + "\n"


def saved_objects(index: str) -> str:
    """NDJSON for Dashboards' Saved Objects import: the index pattern of the alias, so that it outlives a switch."""
    return json.dumps(render("saved_object", alias=index), ensure_ascii=False) + "\n"


def _calls(
    bundle: Bundle, deployment: Deployment, index: str, serving: Serving | None
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(comment, call, body) of each search."""
    text = example_text(bundle)
    encoder = open_query_encoder(bundle.zip_path("tokenizer"))
    ids = {token: i for i, token in enumerate(encoder.lexicon.tokens)}
    weights = query_keys(deployment, encoder.encode(text), ids)
    by_text = asks_by_text(deployment)
    body = text_body(deployment, text, _SIZE) if by_text else tokens_body(deployment, weights, _SIZE)
    search = f"GET {index}/_search"
    yield ("" if by_text else f"# {text}\n"), search, body
    if deployment.vector == "sparse_vector":
        note = "# by text: only under the index's own name; under an alias the server looks up words instead of ids\n"
        yield note, f"GET {names.concrete_index(index, bundle)}/_search", text_body(deployment, text, _SIZE)
    if by_text:
        yield "# the same, with tokens weighted beforehand\n", search, tokens_body(deployment, weights, _SIZE)
    filtered = filtered_body(deployment, body, [render("filter_lang", lang="ko")])
    yield "# only documents of one language\n", search, filtered
    yield "# BM25, for comparison\n", search, _bm25(deployment, text)
    analyzer = ANALYZERS.get(bundle.vocabulary)
    if by_text and analyzer is not None and deployment.vector == "rank_features":
        note = (
            "# by the cluster's own analyzer of this vocabulary (3.1 or newer): its query weights, not the bundle's\n"
        )
        yield note, search, _by_analyzer(deployment, text, analyzer)
    if serving is not None and serving.hybrid != "none":
        pipeline = names.fusing_pipeline(index)
        values = {"size": _SIZE, "field": deployment.field, "fields": _bm25_fields(deployment)}
        hybrid = render("query_hybrid", **values, text=text, sparse=body["query"])
        yield "# BM25 and sparse together\n", f"{search}?search_pipeline={pipeline}", dict(hybrid)


def _all_fields(deployment: Deployment, bundles: Mapping[str, Bundle], text: str) -> dict[str, Any]:
    """The sum of the fields that have a boost."""
    bodies, boosts = dict[str, dict[str, Any]](), dict[str, float]()
    for view in (one for one in deployment.views if one.boost):
        weights = open_query_encoder(bundles[view.fingerprint].zip_path("tokenizer")).encode(text)
        by_text = asks_by_text(view)
        bodies[view.field] = text_body(view, text, _SIZE) if by_text else tokens_body(view, weights, _SIZE)
        boosts[view.field] = view.boost
    return summed_body(bodies, boosts, _SIZE)


def _by_analyzer(deployment: Deployment, text: str, analyzer: str) -> dict[str, Any]:
    values = {"size": _SIZE, "field": deployment.field, "text": text, "analyzer": analyzer}
    return dict(render("query_neural_sparse_analyzer", **values))


def _bm25(deployment: Deployment, text: str) -> dict[str, Any]:
    values = {"size": _SIZE, "field": deployment.field, "fields": _bm25_fields(deployment)}
    return dict(render("query_match_korean_english", **values, text=text))


def _bm25_fields(deployment: Deployment) -> list[str]:
    """A semantic field has no fields below it: it is asked itself, as the text it wraps."""
    return ["title.ko", "title.en", *(["text"] if deployment.vector == "semantic" else ["text.ko", "text.en"])]


def compact(value: Any, indent: int = 0, lead: int = 0) -> str:
    """JSON in which whatever fits stands on one line: a query reads one clause per line.

    Args:
        value: JSON data.
        indent: Spaces before the line it starts on.
        lead: Characters that stand on that line already (a key).
    """
    flat = json.dumps(value, ensure_ascii=False)
    if not value or not isinstance(value, dict | list) or indent + lead + len(flat) < _WIDTH:
        return flat
    pad = " " * (indent + 2)
    if isinstance(value, list):
        rows, (start, end) = [pad + compact(item, indent + 2) for item in value], "[]"
    else:
        keys = [(json.dumps(str(key), ensure_ascii=False) + ": ", item) for key, item in value.items()]
        rows, (start, end) = [pad + key + compact(item, indent + 2, len(key)) for key, item in keys], "{}"
    return "\n".join([start, ",\n".join(rows), " " * indent + end])


def example_text(bundle: Bundle) -> str:
    """A short query from the bundle's probes, so that the snippet is about its own vocabulary."""
    texts = [probe.text for probe in bundle.probes() if probe.query and probe.text.strip()]
    return min((text for text in texts if len(text) >= 5), key=len, default="hello")
