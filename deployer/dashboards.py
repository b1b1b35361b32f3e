"""The lines to paste into Dashboards Dev Tools after a deploy."""

from __future__ import annotations

import json
from typing import Any

from osparse.bundle import Bundle
from osparse.deployer.artifacts import query_encoder_from
from osparse.deployment import Deployment, feature_name
from osparse.opensearch_templates import render

_SIZE = 10


def snippets(bundle: Bundle, deployment: Deployment, index: str) -> str:
    """A search that works as it stands: by text in ml-commons mode, by tokens in client mode."""
    text = example_text(bundle)
    if deployment.mode == "ml-commons":
        body = render("query_neural_sparse_text", size=_SIZE, field=deployment.field, text=text)
    else:
        encoder = query_encoder_from(bundle.zip_path("tokenizer"), deployment.max_length)
        body = tokens_body(deployment, encoder.encode(text), _SIZE)
    note = f"# {text}\n" if deployment.mode == "client" else ""
    return f"{note}GET {index}/_search\n{json.dumps(body, ensure_ascii=False, indent=2)}\n\nGET {index}/_count\n"


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
