"""A cluster in memory: answers the requests of the retrieval room, with the deployer tests' own scoring."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from lookup_bundle import make_lookup_bundle
from mlcommons_index import Index
from mlcommons_search import search
from numpy.typing import NDArray

from osparse.contracts.bundle import Bundle
from osparse.contracts.dataset import Dataset
from osparse.contracts.deployment import FIELD, Deployment, feature_name
from osparse.contracts.model import Model
from osparse.deployer.cluster.client import Answer
from osparse.deployer.mlcommons import tasks
from osparse.encoders.torch_encoder import TextEncoder
from osparse.formula.lexicon import load_tokenizer
from osparse.formula.query_encoder import QueryEncoder
from osparse.retrieval import searcher as search_module

DEPLOYMENTS = {"client": ("client", "u2024"), "plugin": ("client", "raw"), "ml-commons": ("ml-commons", "raw")}
"""The three ways to ask: rank_feature clauses, query_tokens, query_text."""


@pytest.fixture(scope="module")
def lookup(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_lookup_bundle(tmp_path_factory.mktemp("lookup"))


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder and cache of the test's own, and tasks of the emulator that are asked for at once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tasks, "FIRST_WAIT", 0.005)


class MemoryCluster:
    """Stands in for :class:`osparse.deployer.Cluster`; ``requests`` are all it was asked, (path, body)."""

    url = "memory:"
    serverless = False
    uuid = "u1"

    def __init__(self, deployment: Deployment, encoder: QueryEncoder) -> None:
        self.deployment, self.encoder = deployment, encoder
        properties = {FIELD: {"type": "rank_features"}, "lang": {"type": "keyword"}}
        self.index = Index("world", {"mappings": {"_meta": deployment.to_meta(), "properties": properties}})
        self.analyzers = ["nori", "english"]
        self.requests: list[tuple[str, Any]] = []

    def request(self, method: str, path: str, *, body: Any = None, **options: Any) -> Answer:
        self.requests.append((path, body))
        if path == "/_analyze":
            return Answer(200 if body["analyzer"] in self.analyzers else 400, {}, {})
        name, _, call = path.removeprefix("/").partition("/")
        if name not in ("world", "_search"):
            return Answer(404, {}, {})
        if call.startswith("_doc/"):
            found = self.index.documents.get(unquote(call.removeprefix("_doc/")))
            return Answer(200 if found else 404, {"found": bool(found), "_source": found}, {})
        return Answer(200, self._answer(call, body), {})

    def _answer(self, call: str, body: Any) -> Any:
        if call == "_mapping":
            return {"world": {"mappings": self.index.mappings}}
        if call == "_count":
            return {"count": self._search({**(body or {}), "size": 0})["hits"]["total"]["value"]}
        if call == "_mget":
            return {"docs": [{"_id": i, "found": i in self.index.documents} for i in body["ids"]]}
        if call == "_stats":
            primary = {"routing": {"primary": True}, "seq_no": {"max_seq_no": sum(self.index.versions.values()) - 1}}
            replica = {"routing": {"primary": False}, "seq_no": {"max_seq_no": 7}}
            return {"indices": {"world-1": {"uuid": self.uuid, "shards": {"0": [primary, replica]}}}}
        if call == "_msearch":
            lines = [json.loads(line) for line in body.splitlines()]
            return {"responses": [{**self._search(one), "status": 200} for one in lines[1::2]]}
        if call == "scroll":
            return {"_scroll_id": "1", "hits": {"hits": []}}
        return {"_scroll_id": "1", **self._search(body)}

    def _search(self, body: dict[str, Any]) -> dict[str, Any]:
        return search(self.index, body, lambda clause: self.encoder.encode(clause["query_text"]))


@pytest.fixture(scope="session")
def _memo() -> dict[str, NDArray[np.float32]]:
    return {}


@pytest.fixture(autouse=True)
def one_encoding(monkeypatch: pytest.MonkeyPatch, _memo: dict[str, NDArray[np.float32]]) -> None:
    """A text is encoded once: the last bit of a float differs between two runs, and rounding makes 2^-8 of that."""
    plain = TextEncoder.batches

    def batches(self: TextEncoder, texts: Sequence[str], batch_size: int = 32) -> Iterator[Any]:
        for text in texts:
            if text not in _memo:
                ((_, weights),) = plain(self, [text])
                _memo[text] = weights[0]
        for rows in ([*range(1, len(texts), 2)], [*range(0, len(texts), 2)]):
            if rows:
                yield rows, np.stack([_memo[texts[row]] for row in rows])

    monkeypatch.setattr(TextEncoder, "batches", batches)


@pytest.fixture
def make_cluster(model: Model, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], MemoryCluster]:
    """A cluster that serves ``model`` in one of :data:`DEPLOYMENTS` and holds the documents of ``dataset``."""

    def make(kind: str) -> MemoryCluster:
        mode, key_style = DEPLOYMENTS[kind]
        deployment = Deployment(mode, "world", "f" * 64, "1", 400, 64, key_style, None, None)  # type: ignore[arg-type]
        tokenizer = load_tokenizer(model.path / "tokenizer.json")
        cluster = MemoryCluster(deployment, QueryEncoder(tokenizer, model.lexicon, max_length=64))
        monkeypatch.setattr(search_module, "query_encoder", lambda *_: cluster.encoder)
        rows = dataset.documents.select("id", "title", "text", "lang").collect().to_dicts()
        for row, weights in zip(rows, TextEncoder.open(model).encode([r["text"] for r in rows]), strict=True):
            stored = {feature_name(token, deployment.key_style): weight for token, weight in weights.items()}
            cluster.index.put(row.pop("id"), {**row, FIELD: stored})
        return cluster

    return make
