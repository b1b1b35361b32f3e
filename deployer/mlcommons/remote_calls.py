"""The calls of ML Commons about connectors and remote models: one method each, no decisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from osparse.deployer.cluster.client import Answer, Cluster
from osparse.deployer.mlcommons.failures import with_remedy
from osparse.errors import ClusterBusyError, ClusterError
from osparse.opensearch_templates import render

_BASE = "/_plugins/_ml"
_FAILURES = (400, 401, 403, 404, 408, 413, 429, 500, 502, 503, 504)
"""A prediction's answer carries the status of the remote."""


@dataclass(frozen=True)
class Connector:
    id: str
    name: str


@dataclass(frozen=True)
class RemoteModel:
    """A model document of a remote model."""

    id: str
    state: str
    connector_id: str


class RemoteCalls:
    """Errors are those of :meth:`Cluster.request`."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def find_connectors(self, prefix: str) -> list[Connector]:
        """Those whose names begin with ``prefix``; there is no call that lists them, only a search."""
        body = render("connectors_find", prefix=prefix)
        path = f"{_BASE}/connectors/_search"
        answer = self.cluster.request("POST", path, body=body, allow=(400, 404), repeatable=True)
        hits = answer.body["hits"]["hits"] if answer.status == 200 else []
        found = [Connector(str(hit["_id"]), str(hit["_source"].get("name"))) for hit in hits]
        return [connector for connector in found if connector.name.startswith(prefix)]

    def create_connector(self, body: Any) -> str:
        """Sent at most once: a name may be given twice."""
        path = f"{_BASE}/connectors/_create"
        answer = self.cluster.request("POST", path, body=body, repeatable=False, allow=(400,))
        if answer.status != 200:
            raise ClusterError(with_remedy(f"{self.cluster.url} refused the connector: {answer.reason}"))
        return str(answer.body["connector_id"])

    def delete_connector(self, connector_id: str) -> Answer:
        """409 (a model uses it) is returned, not raised; of an unknown one it is 200."""
        return self.cluster.request("DELETE", f"{_BASE}/connectors/{connector_id}", allow=(404, 409))

    def register(self, name: str, connector_id: str, group_id: str) -> str:
        """The id of the new model, which is registered at once. Sent at most once: it is not idempotent."""
        body = render("model_register_remote", name=name, connector_id=connector_id, model_group_id=group_id)
        return str(
            self.cluster.request("POST", f"{_BASE}/models/_register", body=body, repeatable=False).body["model_id"]
        )

    def get_model(self, model_id: str) -> RemoteModel | None:
        answer = self.cluster.request("GET", f"{_BASE}/models/{model_id}", allow=(404,))
        if answer.status == 404:
            return None
        return RemoteModel(model_id, str(answer.body.get("model_state")), str(answer.body.get("connector_id")))

    def use_connector(self, model_id: str, connector_id: str) -> None:
        """Effective at the next call of the model, which stays deployed."""
        body = {"connector_id": connector_id}
        self.cluster.request("PUT", f"{_BASE}/models/{model_id}", body=body, repeatable=True)

    def try_predict(self, model_id: str, texts: Sequence[str], form: str = "WORD") -> Answer:
        """The bare answer; the path of local models (``/models/ID/_predict``) does not fill the texts in."""
        path = f"{_BASE}/_predict/sparse_encoding/{model_id}"
        body = render("model_predict_remote", texts=[_guarded(text) for text in texts], form=form)
        return self.cluster.request("POST", path, body=body, allow=_FAILURES, repeatable=True, timeout=120)

    def predict(self, model_id: str, texts: Sequence[str], form: str = "WORD") -> list[dict[str, float]]:
        """{token or id: weight} of each text; raises :class:`ClusterError` if the encoder does not answer with them."""
        try:
            answer = self.try_predict(model_id, texts, form)
        except ClusterBusyError as busy:
            raise ClusterBusyError(with_remedy(str(busy))) from None
        results = vectors_of(answer)
        if results is None:
            raise ClusterError(
                with_remedy(f"remote model {model_id} does not answer ({answer.status}): {answer.reason}")
            )
        if len(results) != len(texts):
            raise ClusterError(
                f"the encoder of remote model {model_id} gave {len(results)} vectors for {len(texts)} texts; it must "
                "give exactly one for each, in order"
            )
        return results


class TokenPredictions:
    """Predictions keyed by tokens, also of an encoder whose connector is asked for ids."""

    def __init__(self, calls: RemoteCalls, tokens: Sequence[str] | None) -> None:
        """Args: tokens: the vocabulary, in the order of ids, where the connector is asked for ids; else None."""
        self._calls, self._tokens = calls, tokens

    def predict(self, model_id: str, texts: Sequence[str]) -> list[dict[str, float]]:
        if self._tokens is None:
            return self._calls.predict(model_id, texts)
        rows = self._calls.predict(model_id, texts, "TOKEN_ID")
        names_of = {str(i): token for i, token in enumerate(self._tokens)}
        return [{names_of.get(key, key): weight for key, weight in row.items()} for row in rows]


def _guarded(text: str) -> str:
    """As the ingest pipeline of a remote encoder sends it: ML Commons would expand ``${parameters.NAME}``."""
    return text.replace("$\u2060", "$\u2060\u2060").replace("${parameters.", "$\u2060{parameters.")


def vectors_of(answer: Answer) -> list[dict[str, float]] | None:
    """All vectors of a prediction; None where the answer has none: an answer that was cut off is 200 with an error."""
    if answer.status != 200 or not isinstance(answer.body, dict) or "inference_results" not in answer.body:
        return None
    rows = [row for result in answer.body["inference_results"] for row in _response(result)]
    return [dict(row) for row in rows] if all(isinstance(row, dict) for row in rows) else None


def _response(result: Any) -> list[Any]:
    response = result["output"][0].get("dataAsMap", {}).get("response")
    return response if isinstance(response, list) else [response]
