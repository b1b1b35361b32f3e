"""A bundle made without torch, and servers to deploy it to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import world
from lookup_bundle import TEXTS, bundle_file, lookup_graph, make_lookup_bundle, write_zip
from mlcommons_caller import Caller
from mlcommons_server import ML_PLUGINS, MLCommonsServer, mlcommons_server

from osparse.contracts.bundle import Bundle
from osparse.deployer import Cluster
from osparse.deployer.load import bulk
from osparse.deployer.mlcommons import tasks

__all__ = ["TEXTS", "bundle_file", "client", "lookup_graph", "write_zip"]


@pytest.fixture(scope="session")
def make_bundle(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Bundle]:
    def make(name: str = "tiny", seed: int = 0) -> Bundle:
        return make_lookup_bundle(tmp_path_factory.mktemp(name), name, seed)

    return make


@pytest.fixture(scope="session")
def small_bundle(make_bundle: Callable[..., Bundle]) -> Bundle:
    return make_bundle()


@pytest.fixture(scope="session")
def other_bundle(make_bundle: Callable[..., Bundle]) -> Bundle:
    """Another encoder under the same name."""
    return make_bundle(seed=1)


@pytest.fixture
def server() -> Iterator[MLCommonsServer]:
    with mlcommons_server() as running:
        yield running


@pytest.fixture
def call(server: MLCommonsServer) -> Caller:
    return Caller(server)


@pytest.fixture(scope="session")
def tokenizer_json(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return world.make_tokenizer(tmp_path_factory.mktemp("t") / "tokenizer.json").read_bytes()


@pytest.fixture
def encoding(call: Caller, tokenizer_json: bytes) -> str:
    """A deployed model under the ingest pipeline "in" and the search pipeline "ask"."""
    model_id = call.deployed(tokenizer_json)
    body = {"model_id": model_id, "field_map": {"text": "e"}}
    call("PUT", "/_ingest/pipeline/in", {"processors": [{"sparse_encoding": body}]})
    call(
        "PUT",
        "/_search/pipeline/ask",
        {"request_processors": [{"neural_query_enricher": {"default_model_id": model_id}}]},
    )
    return model_id


@pytest.fixture
def core() -> Iterator[MLCommonsServer]:
    """A server without any plugin."""
    with mlcommons_server(plugins=()) as running:
        yield running


@pytest.fixture(params=["ml-commons", "client"])
def running(request: pytest.FixtureRequest) -> Iterator[MLCommonsServer]:
    """A server with the plugins and one without."""
    with mlcommons_server(ML_PLUGINS if request.param == "ml-commons" else ()) as server:
        yield server


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    """The texts of :data:`TEXTS` and a blank one."""
    path = tmp_path / "documents.jsonl"
    rows = [{"id": str(n), "text": text, "lang": "xx"} for n, text in enumerate([*TEXTS, " "])]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Caches and lists of failed documents are in the test's folder, and nobody's credentials are used."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("USERNAME", "PASSWORD", "API_KEY", "BEARER"):
        monkeypatch.delenv(f"OSPARSE_{name}", raising=False)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at tasks and states more often than a user's machine does, and repeat what failed sooner."""
    monkeypatch.setattr(tasks, "FIRST_WAIT", 0.005)
    monkeypatch.setattr(bulk, "BACKOFF", 0.01)


def stands_on(server: MLCommonsServer, alias: str = "products") -> list[str]:
    """The indices that the name stands for."""
    return [name for name, index in server.indices.items() if alias in index.aliases]


def client(server: MLCommonsServer, retries: int = 3) -> Cluster:
    return Cluster(server.url, retries=retries, backoff=0.01)
