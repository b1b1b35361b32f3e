"""Calls on ingest and search pipelines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from osparse.deployer import names
from osparse.deployer.cluster.rest.answers import Calls, as_object, quoted

_SIMULATED_AT_ONCE = 4
"""Documents in one simulation: the server encodes them in parallel, and refuses more than ten model calls at a time."""


class PipelineCalls(Calls):
    """Ingest and search pipelines."""

    def simulate(self, pipeline: str, documents: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """What an ingest pipeline makes of each document: its ``_source``, or ``error``; asked for as they are read.

        With ``skip_existing`` a document is looked up first, so it must name an index that exists, which lacks its id.
        """
        place = {"_index": names.BUNDLES_INDEX, "_id": "simulated"}
        path = f"/_ingest/pipeline/{quoted(pipeline)}/_simulate"
        for start in range(0, len(documents), _SIMULATED_AT_ONCE):
            sources = documents[start : start + _SIMULATED_AT_ONCE]
            body = {"docs": [{**place, "_source": source} for source in sources]}
            answer = self.cluster.request("POST", path, body=body, repeatable=True, timeout=300)
            yield from (simulated.get("doc", simulated) for simulated in as_object(answer)["docs"])

    def simulate_processors(
        self, index: str, processors: Sequence[Mapping[str, Any]], documents: Sequence[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        """What processors make of documents on their way into ``index``: ``_source`` of each, or ``error``."""
        docs = [{"_index": index, "_id": "simulated", "_source": document} for document in documents]
        body = {"pipeline": {"processors": [*processors]}, "docs": docs}
        path = "/_ingest/pipeline/_simulate"
        answer = self.cluster.request("POST", path, body=body, repeatable=True, timeout=300)
        return [found.get("doc", found) for found in as_object(answer)["docs"]]

    def delete_ingest_pipeline(self, name: str) -> None:
        self.cluster.request("DELETE", f"/_ingest/pipeline/{quoted(name)}", allow=(404,))

    def delete_search_pipeline(self, name: str) -> None:
        self.cluster.request("DELETE", f"/_search/pipeline/{quoted(name)}", allow=(404,))

    def get_ingest_pipeline(self, name: str) -> dict[str, Any] | None:
        return self._pipeline(f"/_ingest/pipeline/{quoted(name)}", name)

    def put_ingest_pipeline(self, name: str, body: Mapping[str, Any]) -> None:
        self.cluster.request("PUT", f"/_ingest/pipeline/{quoted(name)}", body=body)

    def get_search_pipeline(self, name: str) -> dict[str, Any] | None:
        return self._pipeline(f"/_search/pipeline/{quoted(name)}", name)

    def put_search_pipeline(self, name: str, body: Mapping[str, Any]) -> None:
        self.cluster.request("PUT", f"/_search/pipeline/{quoted(name)}", body=body)

    def ingest_pipelines(self) -> dict[str, Any]:
        """Name -> body of every ingest pipeline of the cluster."""
        return self._pipelines("/_ingest/pipeline/*")

    def search_pipelines(self) -> dict[str, Any]:
        """Name -> body of every search pipeline of the cluster."""
        return self._pipelines("/_search/pipeline/*")

    def _pipelines(self, path: str) -> dict[str, Any]:
        answer = self.cluster.request("GET", path, allow=(404,))
        return as_object(answer) if answer.status == 200 else {}

    def _pipeline(self, path: str, name: str) -> dict[str, Any] | None:
        answer = self.cluster.request("GET", path, allow=(404,))
        return None if answer.status == 404 else as_object(answer).get(name)
