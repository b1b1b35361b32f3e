"""Calls on documents: reading, writing, searching and counting them."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Generator, Iterable, Mapping
from typing import Any

from osparse.deployer.cluster.client import Answer
from osparse.deployer.cluster.rest.answers import as_object, ndjson, quoted
from osparse.deployer.cluster.rest.indices import IndexCalls
from osparse.deployer.cluster.shards import check_shards
from osparse.errors import ClusterError, ClusterUnreachableError

log = logging.getLogger("osparse.deployer.cluster.rest.documents")

NDJSON = "application/x-ndjson"


class DocumentCalls(IndexCalls):
    """Documents and searches."""

    def count(self, name: str, query: Mapping[str, Any] | None = None) -> int:
        """Documents of an index or alias, or those that ``query`` matches.

        Raises:
            ClusterError: it is closed, or a shard did not answer.
        """
        if query is not None:
            answer = self.cluster.request("POST", f"/{quoted(name)}/_count", body={"query": query}, repeatable=True)
            return _count(name, answer)
        documents = self.count_unless_closed(name)
        if documents is None:
            raise ClusterError(f"{name} on {self.cluster.url} is closed; {self.opening_advice(name)}")
        return documents

    def count_unless_closed(self, name: str) -> int | None:
        """Documents of an index or alias; None if it is closed.

        A count goes through the index's default search pipeline and fails where that was deleted; a search that names
        ``_none`` does not.

        Raises:
            ClusterError: a shard did not answer.
        """
        answer = self.cluster.request("GET", f"/{quoted(name)}/_count", allow=(400,))
        if answer.status == 200:
            return _count(name, answer)
        if "index_closed_exception" in json.dumps(answer.body):
            return None
        body = {"size": 0, "track_total_hits": True}
        return int(self.search(name, body, {"search_pipeline": "_none"}, whole=True)["hits"]["total"]["value"])

    def get_document(self, index: str, document_id: str) -> dict[str, Any] | None:
        """None if there is none; :class:`ClusterError` if the index does not keep its documents' ``_source``."""
        answer = self.cluster.request("GET", f"/{quoted(index)}/_doc/{quoted(document_id)}", allow=(404,))
        if answer.status != 200 or not answer.body.get("found"):
            return None
        if "_source" not in answer.body:
            raise ClusterError(f"index {index} does not keep the _source of its documents, so no weight can be shown")
        return dict(answer.body["_source"])

    def put_document(self, index: str, document_id: str, source: Mapping[str, Any]) -> None:
        params = {"refresh": "true"}
        self.cluster.request(
            "PUT", f"/{quoted(index)}/_doc/{quoted(document_id)}", params=params, body=source, timeout=300
        )

    def present(self, index: str, ids: Collection[str]) -> set[str]:
        """Which of the documents are there."""
        found = self.get_documents(index, ids, {"_source": "false"})
        return {document["_id"] for document in found if document.get("found")}

    def get_documents(self, index: str, ids: Collection[str], params: Mapping[str, str]) -> list[dict[str, Any]]:
        """One row per id (``_mget``), with ``found``, or ``error`` where the index cannot be read."""
        path, body = f"/{quoted(index)}/_mget", {"ids": [*ids]}
        answer = self.cluster.request("POST", path, params=params, body=body, repeatable=True, timeout=300)
        return list(as_object(answer).get("docs", []))

    def bulk(self, index: str, body: bytes) -> Answer:
        """Send a bulk body in which every line names its document's id, so that it may be sent twice.

        413 is returned, not raised: the caller can send less at once.
        """
        path = f"/{quoted(index)}/_bulk"
        request = self.cluster.request
        return request("POST", path, body=body, content_type=NDJSON, allow=(413,), repeatable=True, timeout=300)

    def search(
        self, index: str, body: Mapping[str, Any], params: Mapping[str, str] | None = None, *, whole: bool = False
    ) -> dict[str, Any]:
        """The answer of one search; with ``whole`` it raises :class:`ClusterError` where a shard did not answer."""
        request = self.cluster.request
        answer = as_object(request("POST", f"/{quoted(index)}/_search", params=params, body=body, repeatable=True))
        if whole:
            check_shards(index, answer)
        return answer

    def search_once(self, index: str, body: bytes, params: Mapping[str, str]) -> dict[str, Any]:
        """The answer of one search that is not repeated where it fails, so that its time can be taken."""
        return as_object(self.cluster.request("POST", f"/{quoted(index)}/_search", params=params, body=body))

    def searches(self, index: str, bodies: Iterable[Mapping[str, Any]], shown: str) -> list[dict[str, Any]]:
        """The answers of one ``_msearch``, in order, cut to the ``filter_path`` ``shown``."""
        lines = ndjson(line for body in bodies for line in ({}, body))
        params, path = {"filter_path": shown}, f"/{quoted(index)}/_msearch"
        answer = self.cluster.request("POST", path, params=params, body=lines, repeatable=True, timeout=300)
        return list(as_object(answer)["responses"])

    def some(self, index: str, size: int, source: Mapping[str, Any]) -> list[dict[str, Any]]:
        """At most ``size`` documents of an index, whichever come first; a hit is as one of :meth:`pages`."""
        return list(self.search(index, {"size": size, "_source": dict(source)}, whole=True)["hits"]["hits"])

    def pages(
        self, index: str, size: int, source: Mapping[str, Any], query: Mapping[str, Any] | None = None
    ) -> Generator[list[dict[str, Any]], None, None]:
        """Every document of an index as it is now, or those that ``query`` matches.

        A hit has ``_id`` and the part of ``_source`` that ``source`` chooses.

        A page whose answer is lost cannot be asked for again: the error is raised and the caller starts over.

        Raises:
            ClusterUnreachableError: the pages hold fewer documents than the index had when they were begun.
            ClusterError: a shard did not answer.
        """
        everything = {"query": dict(query or {"match_all": {}}), "sort": ["_doc"], "track_total_hits": True}
        body, path = {"size": size, "_source": dict(source), **everything}, f"/{quoted(index)}/_search"
        request, params = self.cluster.request, {"scroll": "10m"}
        page = _page(index, request("POST", path, params=params, body=body, repeatable=True, timeout=300))
        total, read = int(page["hits"]["total"]["value"]), 0
        try:
            while hits := page["hits"]["hits"]:
                read += len(hits)
                yield hits
                page = self._next_page(index, str(page["_scroll_id"]))
        finally:
            self._end_scroll(str(page["_scroll_id"]))
        if read != total:
            raise ClusterUnreachableError(
                f"{self.cluster.url} gave {read:,} of the {total:,} documents of {index}: a page was lost; run it again"
            )

    def _next_page(self, index: str, scroll_id: str) -> dict[str, Any]:
        """Sent once: each time it is sent the cluster goes on by a page."""
        body = {"scroll": "10m", "scroll_id": scroll_id}
        request = self.cluster.request
        return _page(index, request("POST", "/_search/scroll", body=body, repeatable=False, timeout=300))

    def _end_scroll(self, scroll_id: str) -> None:
        try:
            self.cluster.request("DELETE", "/_search/scroll", body={"scroll_id": [scroll_id]}, allow=(404,))
        except ClusterError as problem:
            log.debug("the cluster keeps a scroll for ten minutes more: %s", problem)

    def delete_document(self, index: str, document_id: str) -> None:
        params = {"refresh": "true"}
        self.cluster.request("DELETE", f"/{quoted(index)}/_doc/{quoted(document_id)}", params=params, allow=(404,))


def _page(index: str, answer: Answer) -> dict[str, Any]:
    """Hits of a search; raises :class:`ClusterError` where a shard did not answer: its documents are missing."""
    page = as_object(answer)
    check_shards(index, page)
    return page


def _count(index: str, answer: Answer) -> int:
    """Of a ``_count``; raises :class:`ClusterError` where a shard did not answer."""
    body = as_object(answer)
    check_shards(index, body)
    return int(body["count"])
