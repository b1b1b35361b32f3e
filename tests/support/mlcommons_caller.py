"""Calls to the test server for the tests about the server itself."""

from __future__ import annotations

import hashlib
import json
import time
import zipfile
from io import BytesIO
from typing import Any

from mlcommons_server import MLCommonsServer

from osparse.deployer import Cluster
from osparse.deployer.cluster.client import Answer

ML = "/_plugins/_ml"
NODE = "43f__YrxTVKXLcL1iKRVww"


class Caller:
    """Calls of one test; every status is returned."""

    def __init__(self, server: MLCommonsServer) -> None:
        self.server = server
        self.cluster = Cluster(server.url, retries=0)

    def __call__(self, method: str, path: str, body: Any = None, **options: Any) -> Answer:
        return self.cluster.request(method, path, body=body, allow=range(400, 600), **options)

    def register(self, data: bytes, function_name: str = "SPARSE_TOKENIZE", chunks: int = 1, **fields: Any) -> str:
        body = {
            "name": "g-test", "function_name": function_name, "version": "1.0.0", "model_format": "TORCH_SCRIPT",
            "model_content_hash_value": hashlib.sha256(data).hexdigest(), "model_content_size_in_bytes": len(data),
            "total_chunks": chunks, **fields,
        }  # fmt: skip
        return str(self("POST", f"{ML}/models/_register_meta", body).body["model_id"])

    def chunk(self, model_id: str, number: int | str, data: bytes, **options: Any) -> Answer:
        return self("POST", f"{ML}/models/{model_id}/upload_chunk/{number}", data, **options)

    def state(self, model_id: str) -> str:
        time.sleep(self.server.settle_seconds)
        return str(self("GET", f"{ML}/models/{model_id}").body["model_state"])

    def deploy(self, model_id: str) -> list[str]:
        """The task's states, each once, and its reason last if it failed."""
        task = self("POST", f"{ML}/models/{model_id}/_deploy").body["task_id"]
        states: list[str] = []
        while not states or states[-1] in ("CREATED", "RUNNING"):
            body = self("GET", f"{ML}/tasks/{task}").body
            states += [body["state"]] if body["state"] not in states else []
            time.sleep(0.003)
        return [*states, json.loads(body["error"])[NODE]] if "error" in body else states

    def predict(self, model_id: str, texts: Any, **parameters: str) -> Answer:
        return self("POST", f"{ML}/models/{model_id}/_predict", {"text_docs": texts, "parameters": parameters})

    def bulk(self, path: str, *rows: Any, **options: Any) -> list[dict[str, Any]]:
        """What is under each item's action."""
        lines = "".join(f"{json.dumps(row)}\n" for row in rows).encode()
        answer = self("POST", path, lines, content_type="application/x-ndjson", **options)
        return [next(iter(item.values())) for item in answer.body["items"]]

    def deployed(self, tokenizer_json: bytes, name: str = "g-test") -> str:
        """The id of a SPARSE_TOKENIZE model without weights, which runs."""
        data = zipped({"tokenizer.json": tokenizer_json})
        model_id = self.register(data, name=name)
        self.chunk(model_id, 0, data)
        self.state(model_id)
        assert self.deploy(model_id)[-1] == "COMPLETED"
        return model_id


def zipped(members: dict[str, bytes]) -> bytes:
    data = BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return data.getvalue()


def said(answer: Any) -> tuple[int, str, str]:
    return answer.status, answer.body["error"]["type"], answer.body["error"]["reason"]


def make(call: Caller, name: str, kind: str = "rank_features", **settings: Any) -> None:
    mappings = {"properties": {"text": {"type": "text"}, "e": {"type": kind}}}
    body = {"settings": settings, "mappings": mappings, "aliases": {f"{name}-alias": {}}}
    assert call("PUT", f"/{name}", body).status == 200


def texts(path: str, call: Caller, **body: Any) -> Any:
    return call("POST", path, {"query": {"neural_sparse": {"e": {"query_text": "pear", **body}}}})
