"""The lines to paste into Dashboards Dev Tools after a deploy."""

from __future__ import annotations

import json
from typing import Any

from osparse.bundle import Bundle
from osparse.deployment import Deployment, feature_name
from osparse.onnx_encoder import open_query_encoder
from osparse.opensearch_templates import render

_SIZE = 10
_WIDTH = 110


def snippets(bundle: Bundle, deployment: Deployment, index: str) -> str:
    """A search that works as it stands: by text in ml-commons mode, by tokens in client mode."""
    text = example_text(bundle)
    if deployment.mode == "ml-commons":
        body = render("query_neural_sparse_text", size=_SIZE, field=deployment.field, text=text)
    else:
        encoder = open_query_encoder(bundle.zip_path("tokenizer"))
        body = tokens_body(deployment, encoder.encode(text), _SIZE)
    note = f"# {text}\n" if deployment.mode == "client" else ""
    return f"{note}GET {index}/_search\n{compact(body)}\n\nGET {index}/_count\n"


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


def tokens_body(deployment: Deployment, weights: dict[str, float], size: int) -> dict[str, Any]:
    """A search body for query weights under raw tokens, in the form this deployment's cluster understands."""
    if deployment.key_style == "raw":
        body = render("query_neural_sparse_tokens", size=size, field=deployment.field, tokens=weights)
    else:
        clauses = [
            render("clause_rank_feature", field=deployment.field, feature=feature_name(token, "u2024"), weight=weight)
            for token, weight in weights.items()
        ]
        body = render("query_rank_features", size=size, field=deployment.field, clauses=clauses)
    return dict(body)


def example_text(bundle: Bundle) -> str:
    """A short query from the bundle's probes, so that the snippet is about its own vocabulary."""
    texts = [probe.text for probe in bundle.probes() if probe.query and probe.text.strip()]
    return min((text for text in texts if len(text) >= 5), key=len, default="hello")
