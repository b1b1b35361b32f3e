"""The ML Commons REST calls: one method each, no decisions. Facts about what they answer stand where they matter."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from osparse.deployer.cluster.client import Answer, Cluster
from osparse.deployer.mlcommons.chosen_ids import TAKEN
from osparse.deployer.mlcommons.failures import with_remedy
from osparse.errors import ClusterBusyError, ClusterError
from osparse.opensearch_templates import render

_BASE = "/_plugins/_ml"
CHUNK = 10_000_000
"""Bytes of one uploaded chunk; the server refuses more ("Chunk size exceeds 10MB")."""
BREAKER = "Circuit Breaker is open"
"""ML Commons' own words; asking again changes nothing."""
DONE = ("COMPLETED", "COMPLETED_WITH_ERROR", "FAILED", "CANCELLED", "EXPIRED", "UNREACHABLE")
"""Task states after which nothing more happens."""


@dataclass(frozen=True)
class ServerModel:
    """A model document, without its chunks."""

    id: str
    name: str
    state: str
    sha256: str
    group_id: str
    chunks: int | None = None
    """How many it is to have; None while the server itself fetches it."""
    algorithm: str = ""
    """SPARSE_ENCODING, SPARSE_TOKENIZE, REMOTE and so on."""

    @property
    def remote(self) -> bool:
        """Whether it runs elsewhere and is called through a connector."""
        return self.algorithm == "REMOTE"


@dataclass(frozen=True)
class Task:
    """An ML task; ``errors`` is node id -> reason (empty key: no node named)."""

    id: str
    state: str
    errors: dict[str, str]
    model_id: str | None = None

    @property
    def done(self) -> bool:
        return self.state in DONE


class ModelIdTakenError(ClusterError):
    """The id that was chosen for a model is another's already."""


class MLCommons:
    """The calls of the opensearch-ml plugin; errors are those of :meth:`Cluster.request`."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def find_group(self, name: str) -> str | None:
        """Id of the model group of that name."""
        body = render("model_group_find", name=name)
        answer = self.cluster.request("POST", f"{_BASE}/model_groups/_search", body=body, allow=(404,), repeatable=True)
        hits = _hits(answer)
        return str(hits[0]["_id"]) if hits else None

    def used_groups(self) -> dict[str, str]:
        """Name -> id of every model group that a model was ever registered in, osparse's or not, up to a thousand."""
        request, body = self.cluster.request, render("model_groups_all")
        answer = request("POST", f"{_BASE}/model_groups/_search", body=body, allow=(400, 404), repeatable=True)
        sources = {str(hit["_id"]): hit["_source"] for hit in _hits(answer)}
        return {str(source["name"]): i for i, source in sources.items() if int(source.get("latest_version", 0)) > 0}

    def register_group(self, name: str) -> Answer:
        """400 is returned, not raised: the name may have been taken meanwhile."""
        body = render("model_group", name=name)
        return self.cluster.request("POST", f"{_BASE}/model_groups/_register", body=body, allow=(400,))

    def find_models(self, name: str) -> list[ServerModel]:
        """Every model of exactly that name; the index of models may not exist yet (404)."""
        body = render("model_find", name=name)
        answer = self.cluster.request("POST", f"{_BASE}/models/_search", body=body, allow=(404,), repeatable=True)
        return [_model(hit["_id"], hit["_source"]) for hit in _hits(answer) if hit["_source"].get("name") == name]

    def all_models(self) -> list[ServerModel]:
        """Every model of the cluster, not only osparse's, up to a thousand; none where ML Commons is not installed."""
        request, body = self.cluster.request, render("models_all")
        answer = request("POST", f"{_BASE}/models/_search", body=body, allow=(400, 404), repeatable=True)
        return [_model(hit["_id"], hit["_source"]) for hit in _hits(answer)]

    def delete_group(self, group_id: str) -> Answer:
        """400 and 409 (it still counts models, also some minutes after the last is gone) are returned, not raised."""
        return self.cluster.request("DELETE", f"{_BASE}/model_groups/{group_id}", allow=(400, 404, 409))

    def get_model(self, model_id: str) -> ServerModel | None:
        answer = self.cluster.request("GET", f"{_BASE}/models/{model_id}", allow=(404,))
        return _model(model_id, answer.body) if answer.status == 200 else None

    def model_document(self, model_id: str) -> dict[str, Any] | None:
        """Everything that the cluster says of a model; None if there is none."""
        answer = self.cluster.request("GET", f"{_BASE}/models/{_segment(model_id)}", allow=(404,))
        return dict(answer.body) if answer.status == 200 else None

    def chunk_content(self, model_id: str, number: int) -> str | None:
        """The base64 of a stored chunk; None if there is none. A chunk is read as a model of that id."""
        path = f"{_BASE}/models/{_segment(f'{model_id}_{number}')}"
        answer = self.cluster.request("GET", path, params={"return_content": "true"}, allow=(404,), timeout=300)
        return None if answer.status == 404 else answer.body.get("model_content")

    def register_meta(self, *, model_id: str | None = None, **values: Any) -> str:
        """Announce a model that will come in chunks; returns its id. Sent at most once: it is not idempotent.

        ``model_id`` is an id that the caller chooses (3.9). Raises :class:`ModelIdTakenError` if a model has it.
        """
        body = _with_id(model_id, render("model_register_meta", **values))
        return str(self._refusable(f"{_BASE}/models/_register_meta", body).body["model_id"])

    def register_by_url(self, *, model_id: str | None = None, **values: Any) -> str:
        """Let the server fetch a model; returns the id of the task. Sent at most once: it is not idempotent.

        Of a ``model_id`` that a model has already, the task tells.
        """
        body = _with_id(model_id, render("model_register_url", **values))
        return str(self._refusable(f"{_BASE}/models/_register", body).body["task_id"])

    def _refusable(self, path: str, body: Any) -> Answer:
        """A POST that may be refused for a reason with a known remedy; an open circuit breaker is said at once."""
        try:
            answer = self.cluster.request("POST", path, body=body, repeatable=False, allow=(400, 409, 429))
            if answer.status == 429 and BREAKER not in answer.reason:
                answer = self.cluster.request("POST", path, body=body, repeatable=False, allow=(400, 409))
        except ClusterBusyError as busy:
            raise ClusterBusyError(with_remedy(str(busy))) from None
        if answer.status == 409 and TAKEN.search(answer.reason):
            raise ModelIdTakenError(f"{self.cluster.url}: {answer.reason}")
        if answer.status >= 400:
            kind = ClusterBusyError if answer.status == 429 else ClusterError
            url = self.cluster.url
            raise kind(with_remedy(f"{url} refused POST {path} ({answer.status}): {answer.reason}"))
        return answer

    def stored_chunks(self, model_id: str, chunks: int) -> set[int]:
        """Which chunks of a model the server has; a chunk is a document of its own."""
        ids = [f"{model_id}_{number}" for number in range(chunks)]
        body = render("model_chunks_find", ids=ids, size=chunks)
        answer = self.cluster.request("POST", f"{_BASE}/models/_search", body=body, allow=(404,), repeatable=True)
        stored = {str(hit["_id"]) for hit in _hits(answer)}
        return {number for number, name in enumerate(ids) if name in stored}

    def upload_chunk(self, model_id: str, number: int, data: bytes) -> None:
        """Sent as application/json, whatever the bytes: other content types are answered 406."""
        path = f"{_BASE}/models/{model_id}/upload_chunk/{number}"
        self.cluster.request("POST", path, body=data, repeatable=True, timeout=300)

    def deploy_model(self, model_id: str) -> Answer:
        """Start deploying, which twice leaves what once does; the answer names the task.

        400, 500 and an open circuit breaker (429) are returned, not raised: they hold the reason.
        """
        path = f"{_BASE}/models/{model_id}/_deploy"
        answer = self.cluster.request("POST", path, allow=(400, 429, 500), repeatable=True)
        if answer.status == 429 and BREAKER not in answer.reason:
            answer = self.cluster.request("POST", path, allow=(400, 500), repeatable=True)
        return answer

    def get_task(self, task_id: str) -> Task:
        body = self.cluster.request("GET", f"{_BASE}/tasks/{task_id}").body
        return Task(task_id, str(body.get("state")), task_errors(body.get("error")), body.get("model_id"))

    def predict(self, model_id: str, texts: Sequence[str]) -> list[dict[str, float]]:
        """{token: weight} of each text; raises :class:`ClusterError` if the model does not answer."""
        try:
            answer = self._predict(model_id, texts, (400, 404, 500))
        except ClusterBusyError as busy:
            raise ClusterBusyError(with_remedy(str(busy))) from None
        if answer.status != 200:
            raise ClusterError(with_remedy(f"model {model_id} does not answer ({answer.status}): {answer.reason}"))
        results = answer.body["inference_results"]
        return [dict(result["output"][0]["dataAsMap"]["response"][0]) for result in results]

    def try_predict(self, model_id: str, texts: Sequence[str]) -> Answer:
        """The bare answer, at once: 400, 404, 429 (an open circuit breaker), 500 and 503 are returned, not raised."""
        return self._predict(model_id, texts, (400, 404, 429, 500, 503))

    def _predict(self, model_id: str, texts: Sequence[str], allow: Collection[int]) -> Answer:
        path = f"{_BASE}/models/{model_id}/_predict"
        body = render("model_predict", texts=list(texts))
        return self.cluster.request("POST", path, body=body, allow=allow, repeatable=True, timeout=300)

    def profiles(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Node id -> model id -> its state and estimated memory there; nothing where no node has a model."""
        answer = self.cluster.request("GET", f"{_BASE}/profile/models", allow=(400, 404))
        nodes = answer.body.get("nodes", {}) if answer.status == 200 and isinstance(answer.body, dict) else {}
        return {str(node): dict(models.get("models", {})) for node, models in nodes.items()}

    def undeploy_model(self, model_id: str) -> None:
        self.cluster.request("POST", f"{_BASE}/models/{model_id}/_undeploy", allow=(404,), repeatable=True)

    def delete_model(self, model_id: str) -> Answer:
        """400 (still deployed), 409 (a pipeline names it), 500 (chunks not cleaned up yet) are returned, not raised."""
        return self.cluster.request("DELETE", f"{_BASE}/models/{model_id}", allow=(400, 404, 409, 500))


def task_errors(error: object) -> dict[str, str]:
    """A task's ``error``: a JSON string {node id: reason}, or plain words."""
    if not isinstance(error, str) or not error:
        return {}
    try:
        parsed = json.loads(error)
    except json.JSONDecodeError:
        return {"": error}
    return {str(node): str(reason) for node, reason in parsed.items()} if isinstance(parsed, dict) else {"": error}


def _with_id(model_id: str | None, body: dict[str, Any]) -> dict[str, Any]:
    return body if model_id is None else {"model_id": model_id, **body}


def _segment(model_id: str) -> str:
    return quote(model_id, safe="")


def _hits(answer: Answer) -> list[dict[str, Any]]:
    return list(answer.body["hits"]["hits"]) if answer.status == 200 else []


def _model(model_id: str, source: dict[str, Any]) -> ServerModel:
    return ServerModel(
        id=model_id,
        name=str(source.get("name")),
        state=str(source.get("model_state")),
        sha256=str(source.get("model_content_hash_value")),
        group_id=str(source.get("model_group_id")),
        chunks=source.get("total_chunks"),
        algorithm=str(source.get("algorithm")),
    )
