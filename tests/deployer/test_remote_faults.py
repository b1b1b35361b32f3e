"""What a remote encoder does wrong, one by one: each document is stored once, or named with its reason."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from encoder_service import encoder_service
from faulty_encoder import FaultyEncoder, faulty_encoder
from mlcommons_server import MLCommonsServer

from osparse.contracts.bundle import Bundle
from osparse.deployer import IndexResult, ModelOptions, deploy, index_documents
from osparse.deployer.load import bulk
from osparse.encoders.onnx_encoder import OnnxEncoder

from .conftest import client

COUNT = 40
"""Documents; three requests of at most 16 texts."""


@pytest.fixture(autouse=True)
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "BACKOFF", 0.001)


@pytest.fixture
def encoder(small_bundle: Bundle, server: MLCommonsServer) -> Iterator[FaultyEncoder]:
    with faulty_encoder(small_bundle.path) as running:
        models = ModelOptions(allow_settings=True, encoder_url=running.url)
        deploy(small_bundle, client(server), "products", mode="remote", models=models)
        (connector,) = server.connectors.values()
        connector["client_config"] |= {"read_timeout": 0.1, "max_retry_times": 2}
        running.requests.clear()
        yield running


def load(server: MLCommonsServer, folder: Path, texts: dict[str, str]) -> tuple[IndexResult, dict[str, str]]:
    """The result, and id -> reason of what is named as failed."""
    file, failures = folder / "rows.jsonl", folder / "failed.jsonl"
    failures.unlink(missing_ok=True)
    file.write_text("".join(json.dumps({"id": i, "text": text}) + "\n" for i, text in texts.items()))
    result = index_documents(client(server), "products", [file], failures=failures)
    lines = failures.read_text().splitlines() if failures.exists() else []
    named = {row["id"]: row["reason"] for row in map(json.loads, lines)}
    assert len(named) == len(lines) == result.failed, "each once"
    return result, named


def check_stored(server: MLCommonsServer, bundle: Bundle, texts: dict[str, str]) -> None:
    """Exactly these documents, each written once with the vector of its own text."""
    (index,) = [index for name, index in server.indices.items() if name.startswith("products-")]
    assert index.documents.keys() == texts.keys()
    vectors = OnnxEncoder.open(bundle).encode([*texts.values()])
    for (i, text), vector in zip(texts.items(), vectors, strict=True):
        assert index.documents[i]["text"] == text and index.versions[i] == 1
        assert index.documents[i]["sparse_embedding"] == pytest.approx(vector, abs=1e-6)


TEXTS = {str(n): f"growing pears and bread {'moon ' * (n % 7)}{n}" for n in range(COUNT)}
PASSING = ["429", "throttled", "503", "closed", "cut", "empty", "slow"]
FAILING = ["500", "401", "302", "html", "too few", "zero", "text", "wrapped"]


@pytest.mark.parametrize("fault", PASSING)
def test_a_fault_that_passes_costs_no_document(
    fault: str, server: MLCommonsServer, small_bundle: Bundle, encoder: FaultyEncoder, tmp_path: Path
) -> None:
    encoder.strike(fault, 2)
    result, named = load(server, tmp_path, TEXTS)
    assert (result.indexed, named) == (COUNT, {})
    check_stored(server, small_bundle, TEXTS)


@pytest.mark.parametrize("fault", FAILING)
def test_a_fault_of_one_call_costs_no_document_either(
    fault: str, server: MLCommonsServer, small_bundle: Bundle, encoder: FaultyEncoder, tmp_path: Path
) -> None:
    """The second call of three failed: its documents are sent alone. What the encoder then encodes is stored."""
    encoder.strike(fault, 1, skipped=1)
    _, named = load(server, tmp_path, TEXTS)
    stored = {i: text for i, text in TEXTS.items() if i not in named}
    check_stored(server, small_bundle, stored)
    alone = {"500", "401", "too few", "zero", "text"}
    assert not named if fault in alone else all(named.values())


@pytest.mark.parametrize("fault", [*PASSING, *FAILING])
def test_a_fault_that_stays_names_every_document_and_the_next_load_stores_them(
    fault: str, server: MLCommonsServer, small_bundle: Bundle, encoder: FaultyEncoder, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(bulk, "TRIES", 2)
    texts = dict([*TEXTS.items()][:5])
    encoder.strike(fault, 1000)
    result, named = load(server, tmp_path, texts)
    assert named.keys() == texts.keys() and all(named.values()) and result.indexed == 0
    check_stored(server, small_bundle, {})
    encoder.strike("", 0)
    assert load(server, tmp_path, texts)[0].indexed == 5
    check_stored(server, small_bundle, texts)


def test_the_document_that_crashes_the_encoder_is_named_alone(
    server: MLCommonsServer, small_bundle: Bundle, encoder: FaultyEncoder, tmp_path: Path
) -> None:
    encoder.poison = "crash me"
    texts = {**TEXTS, "bad": "crash me please"}
    _, named = load(server, tmp_path, texts)
    assert named.keys() == {"bad"} and "encoder crashed" in named["bad"]
    check_stored(server, small_bundle, TEXTS)


SLOTS = ["${parameters.foo}", "a ${parameters.input} b", "${parameters.x:-abc}", "${parameters.sparse_embedding_format}",
         "$\u2060{parameters.a}", "$\u2060\u2060 ${parameters.b} $\u2060", "${credential.token}", "$${parameters.c}"]  # fmt: skip


def test_a_text_that_looks_like_a_template_is_stored_and_encoded_as_it_is(
    server: MLCommonsServer, small_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[str] = set()
    run = OnnxEncoder.batches

    def recorded(self: OnnxEncoder, given: list[str], size: int = 32) -> object:
        seen.update(given)
        return run(self, given, size)

    monkeypatch.setattr(OnnxEncoder, "batches", recorded)
    texts = {**TEXTS, **{f"slot{n}": text for n, text in enumerate(SLOTS)}}
    with encoder_service(small_bundle.path) as service:
        models = ModelOptions(allow_settings=True, encoder_url=service.url)
        deploy(small_bundle, client(server), "products", mode="remote", models=models)
        seen.clear()
        _, named = load(server, tmp_path, texts)
    assert not named and seen == set(texts.values())
    check_stored(server, small_bundle, texts)


def test_without_the_guard_such_a_text_poisons_no_other(
    server: MLCommonsServer, small_bundle: Bundle, encoder: FaultyEncoder, tmp_path: Path
) -> None:
    """A pipeline of somebody else's making: the loader finds the one document."""
    for pipeline in server.ingest.values():
        pipeline["processors"] = [p for p in pipeline["processors"] if "script" not in p]
    texts = {**TEXTS, "bad": "a ${parameters.input} b"}
    _, named = load(server, tmp_path, texts)
    assert named.keys() == {"bad"} and "Infinite loop" in named["bad"]
    check_stored(server, small_bundle, TEXTS)


def test_an_encoder_killed_and_restarted_in_mid_bulk_loses_nothing(
    server: MLCommonsServer, small_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "BACKOFF", 0.1)
    texts = {str(n): f"pear {n}" for n in range(700)}
    with encoder_service(small_bundle.path, slow=lambda: time.sleep(0.02)) as service:
        port = int(service.address.rsplit(":", 1)[1])
        models = ModelOptions(allow_settings=True, encoder_url=service.url)
        deploy(small_bundle, client(server), "products", mode="remote", models=models)
        results: list[tuple[IndexResult, dict[str, str]]] = []
        loading = threading.Thread(target=lambda: results.append(load(server, tmp_path, texts)))
        loading.start()
        while not any("_bulk" in call.path for call in server.calls):
            time.sleep(0.005)
    time.sleep(0.3)
    with encoder_service(small_bundle.path, port=port):
        loading.join(60)
    ((result, named),) = results
    assert not named and result.indexed == 700
    check_stored(server, small_bundle, texts)
