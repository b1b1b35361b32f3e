"""Fields beside the text: stored as they are, kept where others gave them, and never mistaken for osparse's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlcommons_server import Fault, MLCommonsServer

from osparse.contracts.bundle import Bundle
from osparse.deployer import IndexResult, Upgrade, deploy, index_documents
from osparse.deployer.index.layout import Serving
from osparse.deployer.load import stream
from osparse.deployer.load.stored_sources import stored_sources

from .conftest import TEXTS, client

MODES = ["ml-commons", "client"]
OWN = {"osparse_hash", "sparse_embedding", "chunks", "chunk_texts"}
Load = Callable[..., IndexResult]


@pytest.fixture(params=MODES)
def running(request: pytest.FixtureRequest, server: MLCommonsServer, core: MLCommonsServer) -> MLCommonsServer:
    return server if request.param == "ml-commons" else core


@pytest.fixture
def load(running: MLCommonsServer, small_bundle: Bundle, tmp_path: Path) -> Load:
    deploy(small_bundle, client(running), "products")

    def rows(*rows: dict[str, Any], force: bool = False) -> IndexResult:
        path = tmp_path / "d.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return index_documents(client(running), "products", [path], failures=tmp_path / "failed.jsonl", force=force)

    return rows


def stored(server: MLCommonsServer, bundle: Bundle) -> dict[str, dict[str, Any]]:
    """What the index holds beside what osparse makes."""
    documents = server.indices[f"products-{bundle.short}"].documents
    return {i: {name: v for name, v in source.items() if name not in OWN} for i, source in documents.items()}


def test_the_row_is_stored_and_a_change_of_any_field_is_seen(
    running: MLCommonsServer, small_bundle: Bundle, load: Load
) -> None:
    row = {"text": TEXTS[0], "brand": "Acme", "price": 12.5, "tags": ["a"], "size": {"w": 1}}
    assert load({"id": "a", **row}).indexed == 1
    assert stored(running, small_bundle) == {"a": row}
    assert load({"id": "a", **row}).unchanged == 1
    assert load({"id": "a", **row, "price": 11}).indexed == 1
    assert stored(running, small_bundle) == {"a": {**row, "price": 11}}


def test_what_others_added_stays_when_the_text_is_loaded_again(
    running: MLCommonsServer, small_bundle: Bundle, load: Load
) -> None:
    load({"id": "a", "text": TEXTS[0], "brand": "Acme", "price": 5}, {"id": "b", "text": TEXTS[1]})
    documents = running.indices[f"products-{small_bundle.short}"].documents
    first = documents["a"]["sparse_embedding"]
    for document in documents.values():
        document |= {"clicks": 7}
    load({"id": "a", "text": TEXTS[1], "price": None}, {"id": "b", "text": TEXTS[1], "title": "T"})
    assert stored(running, small_bundle) == {
        "a": {"text": TEXTS[1], "brand": "Acme", "clicks": 7},
        "b": {"text": TEXTS[1], "title": "T", "clicks": 7},
    }
    assert documents["a"]["sparse_embedding"] == documents["b"]["sparse_embedding"] != first
    load({"id": "a", "text": " "})
    assert stored(running, small_bundle)["a"] == {"text": " ", "brand": "Acme", "clicks": 7}
    assert "sparse_embedding" not in documents["a"], "no text, no weights"


def test_a_change_that_comes_during_the_load_is_not_lost(
    running: MLCommonsServer, small_bundle: Bundle, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The document is looked at, then somebody sets a price, then it is sent."""
    load({"id": "a", "text": TEXTS[0]}, {"id": "b", "text": TEXTS[0]})
    plain = stored_sources
    prices = iter([1, 2])

    def late(*arguments: Any) -> Any:
        found = plain(*arguments)
        price = next(prices, None)
        if price is not None:
            index = running.indices[f"products-{small_bundle.short}"]
            index.put("a", {**index.documents["a"], "price": price})
        return found

    monkeypatch.setattr(stream, "stored_sources", late)
    done = load({"id": "a", "text": TEXTS[1]}, {"id": "b", "text": TEXTS[1]})
    assert (done.indexed, done.failed) == (2, 0)
    assert stored(running, small_bundle) == {"a": {"text": TEXTS[1], "price": 2}, "b": {"text": TEXTS[1]}}


def test_force_writes_although_another_program_changes_the_document_meanwhile(
    running: MLCommonsServer, small_bundle: Bundle, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stored hash is that of the row before and after, and the vector is that of another text."""
    load({"id": "a", "text": TEXTS[0]})
    index = running.indices[f"products-{small_bundle.short}"]
    vector = dict(index.documents["a"]["sparse_embedding"])
    index.put("a", {**index.documents["a"], "sparse_embedding": {"stale": 1.0}})
    plain = stored_sources
    prices = iter([1])

    def late(*arguments: Any) -> Any:
        sources = plain(*arguments)
        for price in prices:
            index.put("a", {**index.documents["a"], "price": price})
        return sources

    monkeypatch.setattr(stream, "stored_sources", late)
    done = load({"id": "a", "text": TEXTS[0]}, force=True)
    assert (done.indexed, done.failed) == (1, 0)
    assert stored(running, small_bundle) == {"a": {"text": TEXTS[0], "price": 1}}
    assert index.documents["a"]["sparse_embedding"] == pytest.approx(vector)


def test_a_null_takes_out_what_another_program_added(
    running: MLCommonsServer, small_bundle: Bundle, load: Load
) -> None:
    load({"id": "a", "text": TEXTS[0]})
    running.indices[f"products-{small_bundle.short}"].documents["a"]["brand"] = "Acme"
    assert load({"id": "a", "text": TEXTS[0], "brand": None}).indexed == 1
    assert stored(running, small_bundle) == {"a": {"text": TEXTS[0]}}
    assert load({"id": "a", "text": TEXTS[0], "brand": None}).unchanged == 1


def test_a_lost_answer_is_no_conflict(running: MLCommonsServer, small_bundle: Bundle, load: Load) -> None:
    load({"id": "a", "text": TEXTS[0]})
    running.faults = [Fault("lose", matching="_bulk")]
    done = load({"id": "a", "text": TEXTS[1]}, {"id": "b", "text": TEXTS[1]})
    assert (done.indexed, done.failed) == (2, 0)
    assert stored(running, small_bundle) == {"a": {"text": TEXTS[1]}, "b": {"text": TEXTS[1]}}


def test_a_field_of_the_encoder_is_refused_by_name(running: MLCommonsServer, small_bundle: Bundle, load: Load) -> None:
    done = load({"id": "a", "text": "x", "sparse_embedding": {"a": 1}}, {"id": "b", "text": "x", "chunks": 3})
    assert (done.indexed, done.failed) == (1, 1)
    assert "sparse_embedding: osparse writes that field" in done.first_failures[0].reason
    assert stored(running, small_bundle) == {"b": {"text": "x"}}, "an index that has no pieces knows no such field"
    assert running.indices[f"products-{small_bundle.short}"].documents["b"]["chunks"] == 3


def test_pieces_have_their_own_fields(server: MLCommonsServer, small_bundle: Bundle, tmp_path: Path) -> None:
    deploy(small_bundle, client(server), "products", serving=Serving(chunk_text=True))
    path = tmp_path / "d.jsonl"
    path.write_text('{"id": "a", "text": "x", "chunks": 3}\n', encoding="utf-8")
    done = index_documents(client(server), "products", [path], failures=tmp_path / "failed.jsonl")
    assert done.failed == 1 and "chunks: osparse writes that field" in done.first_failures[0].reason


def test_a_copy_takes_every_field_and_nothing_more(
    running: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle, load: Load
) -> None:
    load({"id": "a", "text": TEXTS[0], "brand": "Acme", "price": 5}, {"id": "b", "text": TEXTS[1]})
    deploy(other_bundle, client(running), "products", upgrade=Upgrade(stage=True))
    new = running.indices[f"products-{other_bundle.short}"]
    new.put("b", {"text": "older", "left": "behind"})
    deploy(other_bundle, client(running), "products")
    assert stored(running, other_bundle) == stored(running, small_bundle)
