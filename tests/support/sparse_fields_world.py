"""Documents with a title and a text, and what an index of several sparse fields must hold of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from lookup_bundle import TEXTS
from mlcommons_server import MLCommonsServer

from osparse.contracts.bundle import Bundle
from osparse.contracts.deployment import Deployment, feature_name
from osparse.deployer import Cluster, index_documents
from osparse.encoders.onnx_encoder import OnnxEncoder, open_query_encoder
from osparse.formula.lucene_rounding import quantise

FIELDS = ["title_sparse=title^2", "sparse_embedding=text^0.5"]
ROWS: list[dict[str, Any]] = [
    {"id": "both", "title": TEXTS[0], "text": TEXTS[1], "brand": "acme"},
    {"id": "text", "text": TEXTS[3], "brand": "2.0"},
    {"id": "title", "title": TEXTS[3], "text": " "},
]


def load(server: MLCommonsServer, rows: list[dict[str, Any]], folder: Path, **options: Any) -> None:
    path = folder / "d.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert index_documents(Cluster(server.url, retries=3, backoff=0.01), "products", [path], **options).failed == 0


def encoded(bundle: Bundle, text: str) -> dict[str, float]:
    """Token -> weight as the index keeps it."""
    (vector,) = OnnxEncoder.open(bundle.zip_path("onnx"), threads=1).encode([text])
    return dict(zip(vector, map(float, quantise(np.array([*vector.values()], np.float32))), strict=True))


def dot(bundle: Bundle, query: str, text: str) -> float:
    asked = open_query_encoder(bundle.zip_path("tokenizer")).encode(query)
    stored = encoded(bundle, text) if text.strip() else {}
    return sum(weight * stored.get(token, 0.0) for token, weight in asked.items())


def stored(server: MLCommonsServer, bundle: Bundle, i: str) -> dict[str, Any]:
    return server.indices[f"products-{bundle.short}"].documents[i]


def as_stored(bundle: Bundle, text: str, deployment: Deployment) -> dict[str, float]:
    (vector,) = OnnxEncoder.open(bundle.zip_path("onnx"), threads=1).encode([text])
    return {feature_name(token, deployment.key_style): weight for token, weight in vector.items()}
