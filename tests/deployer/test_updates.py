"""Documents that others change: through the index's pipeline, and past it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlcommons_server import Fault, MLCommonsServer

from osparse.contracts.bundle import Bundle
from osparse.contracts.deployment import stored_vectors
from osparse.deployer import deploy, index_documents, status
from osparse.deployer.cluster.api import NDJSON, ClusterApi, ndjson
from osparse.deployer.health import document_check
from osparse.deployer.index.layout import Serving
from osparse.encoders.onnx_encoder import OnnxEncoder
from osparse.errors import BundleError

from .conftest import TEXTS, client

LAYOUTS = {"plain": Serving(), "chunks": Serving(chunk_text=True), "sparse_vector": Serving(field="sparse_vector")}


def load(server: MLCommonsServer, bundle: Bundle, folder: Path, serving: Serving) -> dict[str, dict[str, Any]]:
    """The stored documents of a new deployment: the probes' texts."""
    deploy(bundle, client(server), "products", serving=serving)
    path = folder / "d.jsonl"
    rows = [{"id": str(n), "text": text, "title": None} for n, text in enumerate(TEXTS)]
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


def found_by_status(server: MLCommonsServer) -> list[str]:
    (status_of_one,) = status(client(server), "products")
    return status_of_one.problems


@pytest.mark.parametrize("layout", LAYOUTS)
def test_status_finds_a_text_that_was_changed_without_its_vector(
    layout: str, server: MLCommonsServer, small_bundle: Bundle, tmp_path: Path
) -> None:
    """The bulk trap, and what leads out of it; updates of other fields are no fault."""
    load(server, small_bundle, tmp_path, LAYOUTS[layout])
    cluster, concrete = client(server), f"products-{small_bundle.short}"
    simulated = sum("_simulate" in call.path for call in server.calls)
    assert not found_by_status(server)
    assert sum("_simulate" in call.path for call in server.calls) == simulated, "nobody else wrote: nothing to encode"
    rows: list[dict[str, Any]] = [{"update": {"_id": "0"}}, {"doc": {"price": 5}}]
    cluster.request("POST", f"/{concrete}/_bulk", body=ndjson(rows), content_type=NDJSON)
    assert not found_by_status(server)
    rows = [{"update": {"_id": "1"}}, {"doc": {"text": TEXTS[0]}}]
    cluster.request("POST", f"/{concrete}/_bulk", body=ndjson(rows), content_type=NDJSON)
    (problem,) = found_by_status(server)
    assert problem.startswith("1 of the 4 documents looked at have the vector of another text than their own (1)")
    path = problem.split("POST ")[1].split("?")[0]
    cluster.request("POST", f"/{path}", params={"conflicts": "proceed"})
    assert not found_by_status(server)


@pytest.mark.parametrize("mode", ["ml-commons", "client"])
def test_status_finds_texts_without_a_vector(
    mode: str, server: MLCommonsServer, core: MLCommonsServer, small_bundle: Bundle, tmp_path: Path
) -> None:
    running = server if mode == "ml-commons" else core
    load(running, small_bundle, tmp_path, Serving())
    rows: list[dict[str, Any]] = [{"index": {"_id": "new", "pipeline": "_none"}}, {"text": "growing"}]
    rows += [
        {"index": {"_id": "blank", "pipeline": "_none"}},
        {"text": " "},
        {"index": {"_id": "none"}},
        {"title": "t"},
    ]
    concrete = f"products-{small_bundle.short}"
    client(running).request("POST", f"/{concrete}/_bulk", body=ndjson(rows), content_type=NDJSON)
    (problem,) = found_by_status(running)
    assert problem.startswith("1 of the 7 documents looked at have a text and no vector") and "(new)" in problem
    assert ("_update_by_query" if mode == "ml-commons" else "osparse index") in problem


def add_without_vector(server: MLCommonsServer, bundle: Bundle, texts: dict[str, str]) -> None:
    rows: list[dict[str, Any]] = []
    for i, text in texts.items():
        rows += [{"index": {"_id": i, "pipeline": "_none"}}, {"text": text}]
    client(server).request("POST", f"/products-{bundle.short}/_bulk", body=ndjson(rows), content_type=NDJSON)


@pytest.mark.parametrize("mode", ["ml-commons", "client"])
def test_status_looks_on_after_texts_that_have_no_weights(
    mode: str,
    server: MLCommonsServer,
    core: MLCommonsServer,
    small_bundle: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """More texts than are encoded at first have no weights, and one that was written before them has some."""
    running = server if mode == "ml-commons" else core
    load(running, small_bundle, tmp_path, Serving())
    simulate, encode = ClusterApi.simulate, OnnxEncoder.encode

    def simulate_weightless(api: ClusterApi, pipeline: str, sources: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        empty: dict[str, Any] = {"_source": {"sparse_embedding": {}}}
        for source, made in zip(sources, simulate(api, pipeline, sources), strict=True):
            yield empty if source["text"] == "no weights" else made

    def encode_weightless(encoder: OnnxEncoder, texts: list[str]) -> list[dict[str, float]]:
        return [{} if text == "no weights" else one for text, one in zip(texts, encode(encoder, texts), strict=True)]

    monkeypatch.setattr(ClusterApi, "simulate", simulate_weightless)
    monkeypatch.setattr(OnnxEncoder, "encode", encode_weightless)
    weightless = {f"w{n}": "no weights" for n in range(2 * document_check.ENCODED + 3)}
    add_without_vector(running, small_bundle, weightless)
    assert not found_by_status(running)
    add_without_vector(running, small_bundle, {"old": "growing", **weightless})
    (problem,) = found_by_status(running)
    assert problem.startswith("1 of the 40 documents looked at have a text and no vector") and "(old)" in problem
    assert f"; {len(weightless) + 1} texts were encoded (old)" in problem


def test_an_encoder_that_cannot_be_opened_does_not_end_the_survey(
    core: MLCommonsServer, small_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = load(core, small_bundle, tmp_path, Serving())
    stored["0"]["text"] = TEXTS[1]

    def broken(*_: object) -> None:
        raise BundleError("encoder.onnx.zip is corrupt")

    monkeypatch.setattr(OnnxEncoder, "open", broken)
    assert found_by_status(core) == [], "what cannot be encoded cannot be compared"
    add_without_vector(core, small_bundle, {"new": "growing"})
    (problem,) = found_by_status(core)
    assert problem.startswith("1 of the 5 documents looked at have a text and no vector") and "(new)" in problem
    monkeypatch.setattr("osparse.deployer.health.status.document_problems", broken)
    assert found_by_status(core) == ["it could not be examined: encoder.onnx.zip is corrupt"]


def test_status_compares_with_the_stored_encoder_in_mode_client(
    core: MLCommonsServer, small_bundle: Bundle, tmp_path: Path
) -> None:
    stored = load(core, small_bundle, tmp_path, Serving())
    stored["0"]["price"] = 5
    assert not found_by_status(core)
    stored["0"]["text"] = TEXTS[1]
    (problem,) = found_by_status(core)
    assert "vector of another text than their own (0)" in problem and "osparse index --force" in problem
    assert index_documents(client(core), "products", [tmp_path / "d.jsonl"]).unchanged == len(TEXTS)
    assert index_documents(client(core), "products", [tmp_path / "d.jsonl"], force=True).indexed == len(TEXTS)
    assert not found_by_status(core) and stored["0"]["text"] == TEXTS[0] and stored["0"]["price"] == 5


def test_status_goes_on_where_documents_cannot_be_searched(
    core: MLCommonsServer, small_bundle: Bundle, tmp_path: Path
) -> None:
    load(core, small_bundle, tmp_path, Serving())
    core.faults = [Fault("status", matching="_search", times=9, status=404)]
    (problem,) = found_by_status(core)
    assert "its documents cannot be searched" in problem
