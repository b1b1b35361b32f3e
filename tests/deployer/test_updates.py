"""Documents that others change: through the index's pipeline, and past it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mlcommons_server import MLCommonsServer

from osparse.bundle import Bundle
from osparse.deployer import deploy, index_documents
from osparse.deployer.serving import Serving
from osparse.deployment import stored_vectors

from .conftest import TEXTS, client

LAYOUTS = {"plain": Serving(), "chunks": Serving(chunk_text=True), "sparse_vector": Serving(field="sparse_vector")}


def load(server: MLCommonsServer, bundle: Bundle, folder: Path, serving: Serving) -> dict[str, dict[str, Any]]:
    """The stored documents of a new deployment: the probes' texts."""
    deploy(bundle, client(server), "products", serving=serving)
    path = folder / "d.jsonl"
    rows = [{"id": str(n), "text": text} for n, text in enumerate(TEXTS)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert index_documents(client(server), "products", [path]).indexed == len(TEXTS)
    return server.indices[f"products-{bundle.short}"].documents


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_update_of_another_field_keeps_the_vector(
    layout: str, server: MLCommonsServer, small_bundle: Bundle, tmp_path: Path
) -> None:
    """A document whose vector has a token such as "." may go through the pipeline a second time."""
    stored = load(server, small_bundle, tmp_path, LAYOUTS[layout])
    before = json.loads(json.dumps(stored))
    concrete = f"products-{small_bundle.short}"
    if layout == "plain":
        assert any("." in source["sparse_embedding"] for source in stored.values()), "or nothing is tested"
    for document in before:
        client(server).request("POST", f"/{concrete}/_update/{document}", body={"doc": {"price": 5}})
    assert stored == {i: {**source, "price": 5} for i, source in before.items()}
    answer = client(server).request("POST", f"/{concrete}/_update_by_query")
    assert not answer.body["failures"] and {i: {**s, "price": 5} for i, s in before.items()} == stored


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_update_of_the_text_makes_another_vector(
    layout: str, server: MLCommonsServer, small_bundle: Bundle, tmp_path: Path
) -> None:
    stored = load(server, small_bundle, tmp_path, LAYOUTS[layout])
    concrete = f"products-{small_bundle.short}"
    field = LAYOUTS[layout].vector_field
    for text, expected in ((TEXTS[1], stored_vectors(stored["1"], field)), ("  ", [])):
        client(server).request("POST", f"/{concrete}/_update/2", body={"doc": {"text": text}})
        assert stored_vectors(stored["2"], field) == expected, "a blank text leaves no old vector"
