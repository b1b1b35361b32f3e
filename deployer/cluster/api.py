"""The REST calls on indices, documents, pipelines and the cluster itself: one method each, no decisions."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from osparse.deployer import names
from osparse.deployer.cluster.client import Answer, Cluster
from osparse.deployer.cluster.shards import check_shards
from osparse.errors import ClusterError, ClusterUnreachableError

log = logging.getLogger("osparse.deployer.cluster.api")

NDJSON = "application/x-ndjson"
_UNSEEN = (400, 403, 404, 405)
"""What a cluster answers whose user may not look at its index templates, or that has none."""
_SIMULATED_AT_ONCE = 4
"""Documents in one simulation: the server encodes them in parallel, and refuses more than ten model calls at a time."""
_MERGE_TIMEOUT = 3600
"""Seconds: a SEISMIC index of millions of documents is built again while it is merged."""
_EVERY_INDEX = "open,closed,hidden"
"""For ``expand_wildcards``: without it, closed and hidden indices are left out of what a wildcard names."""


class ClusterApi:
    """The calls every OpenSearch has; errors are those of :meth:`Cluster.request`."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def root(self) -> dict[str, Any]:
        answer = self.cluster.request("GET", "/", allow=(404,))
        if answer.status == 404:
            raise ClusterError(
                f"{self.cluster.url} answers GET / with 404: OpenSearch Serverless does so, and osparse cannot use it; "
                "take a managed OpenSearch domain or a cluster of your own (or check the address, if it is one)"
            )
        return _object(answer)

    def plugins(self) -> list[dict[str, Any]]:
        found = self.cluster.request("GET", "/_cat/plugins", params={"format": "json"}).body
        return found if isinstance(found, list) else []

    def nodes(self) -> dict[str, Any]:
        """Node id -> name, version, roles."""
        filters = "nodes.*.name,nodes.*.version,nodes.*.roles"
        answer = self.cluster.request("GET", "/_nodes/plugins", params={"filter_path": filters})
        return dict(_object(answer).get("nodes", {}))

    def node_memory(self) -> dict[str, Any]:
        """Node id -> name and ``os.mem`` usage."""
        filters = "nodes.*.name,nodes.*.os.mem"
        answer = self.cluster.request("GET", "/_nodes/stats/os", params={"filter_path": filters})
        return dict(_object(answer).get("nodes", {}))

    def node_stats(self) -> dict[str, Any]:
        """Node id -> name, heap, memory and disk in use."""
        shown = "name", "jvm.mem.heap_used_percent", "os.mem.used_percent", "fs.total.available_in_bytes"
        params = {"filter_path": ",".join(f"nodes.*.{one}" for one in shown)}
        answer = self.cluster.request("GET", "/_nodes/stats/os,jvm,fs", params=params)
        return dict(_object(answer).get("nodes", {}))

    def node_places(self) -> dict[str, Any]:
        """Node id -> name, processor (``os.arch``) and ``settings.path.data``, where the node shows them."""
        shown = "name", "os.arch", "settings.path.data"
        params = {"filter_path": ",".join(f"nodes.*.{one}" for one in shown)}
        answer = self.cluster.request("GET", "/_nodes/os,settings", params=params)
        return dict(_object(answer).get("nodes", {}))

    def node_processors(self) -> list[int]:
        """Processors that each node may use."""
        params = {"filter_path": "nodes.*.os.allocated_processors"}
        nodes = _object(self.cluster.request("GET", "/_nodes/os", params=params)).get("nodes", {})
        return [int(node["os"]["allocated_processors"]) for node in nodes.values()]

    def settings(self) -> dict[str, str]:
        """Every cluster setting in force, flat: transient over persistent over default."""
        params = {"include_defaults": "true", "flat_settings": "true"}
        body = _object(self.cluster.request("GET", "/_cluster/settings", params=params))
        return {**body.get("defaults", {}), **body.get("persistent", {}), **body.get("transient", {})}

    def persistent_settings(self) -> dict[str, str]:
        """The cluster settings that somebody has set for good, flat."""
        body = _object(self.cluster.request("GET", "/_cluster/settings", params={"flat_settings": "true"}))
        return dict(body.get("persistent", {}))

    def put_settings(self, body: Mapping[str, Any]) -> None:
        self.cluster.request("PUT", "/_cluster/settings", body=body)

    def has_analyzer(self, analyzer: str) -> bool:
        body = {"analyzer": analyzer, "text": "a"}
        return self.cluster.request("POST", "/_analyze", body=body, allow=(400,), repeatable=True).status == 200

    def get_index(self, name: str) -> dict[str, Any] | None:
        """Concrete index -> aliases, mappings, settings, of an index or alias; None if there is none."""
        answer = self.cluster.request("GET", f"/{_q(name)}", allow=(404,))
        return None if answer.status == 404 else _object(answer)

    def index_templates(self) -> dict[str, Any]:
        """Composable index templates by name; none where the user may not see them."""
        answer = self.cluster.request("GET", "/_index_template", allow=_UNSEEN)
        rows = _object(answer).get("index_templates", []) if answer.status == 200 else []
        return {row["name"]: row["index_template"] for row in rows}

    def legacy_templates(self) -> dict[str, Any]:
        """Legacy index templates by name; none where the user may not see them."""
        answer = self.cluster.request("GET", "/_template", allow=_UNSEEN)
        return _object(answer) if answer.status == 200 else {}

    def simulated_index(self, name: str) -> dict[str, Any]:
        """What a new index of this name would take from the composable templates: settings, mappings, aliases."""
        answer = self.cluster.request(
            "POST", f"/_index_template/_simulate_index/{_q(name)}", allow=_UNSEEN, repeatable=True
        )
        return dict(_object(answer).get("template") or {}) if answer.status == 200 else {}

    def get_mapping(self, name: str) -> dict[str, Any] | None:
        """Concrete index -> mappings, of an index or alias; None if there is none."""
        answer = self.cluster.request("GET", f"/{_q(name)}/_mapping", allow=(404,))
        return None if answer.status == 404 else _object(answer)

    def put_mapping(self, name: str, body: Mapping[str, Any]) -> None:
        self.cluster.request("PUT", f"/{_q(name)}/_mapping", body=body)

    def get_index_settings(self, name: str) -> dict[str, str]:
        """The settings of one concrete index, flat (``index.default_pipeline``); those never set are not there."""
        params = {"flat_settings": "true"}
        body = _object(self.cluster.request("GET", f"/{_q(name)}/_settings", params=params))
        return dict(body.get(name, {}).get("settings", {}))

    def index_uuid(self, name: str) -> str | None:
        """Differs between an index and another one of its name; None if there is none."""
        params = {"flat_settings": "true", "filter_path": "*.settings.index.uuid"}
        answer = self.cluster.request("GET", f"/{_q(name)}/_settings", params=params, allow=(404,))
        settings = _object(answer).get(name, {}).get("settings", {}) if answer.status == 200 else {}
        return settings.get("index.uuid")

    def put_index_settings(self, name: str, body: Mapping[str, Any]) -> None:
        """Flat; a value of None takes the setting away."""
        self.cluster.request("PUT", f"/{_q(name)}/_settings", body=body)

    def all_meta(self, pattern: str = "_all") -> dict[str, Any]:
        """Concrete index -> ``_meta`` of every index of the pattern that has any, hidden and closed ones too."""
        params = {"filter_path": "*.mappings._meta", "expand_wildcards": _EVERY_INDEX}
        body = _object(self.cluster.request("GET", f"/{quote(pattern, safe='*')}/_mapping", params=params))
        return {name: found["mappings"]["_meta"] for name, found in body.items()}

    def default_pipelines(self) -> dict[str, set[str]]:
        """Concrete index -> the pipelines that its settings name, of every index that names one."""
        named = "default_pipeline", "final_pipeline", "search.default_pipeline"
        params = {
            "filter_path": ",".join(f"*.settings.index.{setting}" for setting in named),
            "expand_wildcards": _EVERY_INDEX,
        }
        body = _object(self.cluster.request("GET", "/_all/_settings", params=params))
        return {name: set(_strings(settings)) - {"_none"} for name, settings in body.items()}

    def mapped_models(self) -> dict[str, set[str]]:
        """Concrete index -> ids of the models that its ``semantic`` fields name, of every index."""
        named = "*.mappings.**.model_id,*.mappings.**.search_model_id"
        params = {"filter_path": named, "expand_wildcards": _EVERY_INDEX}
        body = _object(self.cluster.request("GET", "/_all/_mapping", params=params))
        return {name: set(_strings(mappings)) for name, mappings in body.items()}

    def aliases(self, index: str) -> list[str]:
        return sorted(self.alias_properties(index))

    def alias_properties(self, index: str) -> dict[str, dict[str, Any]]:
        """Alias -> its filter, routing and flags, of every alias that stands on the index."""
        answer = self.cluster.request("GET", f"/{_q(index)}/_alias")
        return {name: body for found in _object(answer).values() for name, body in found.get("aliases", {}).items()}

    def indices_of_alias(self, alias: str) -> list[str]:
        """The concrete indices an alias stands on; none if there is no such alias."""
        answer = self.cluster.request("GET", f"/_alias/{_q(alias)}", allow=(404,))
        return sorted(_object(answer)) if answer.status == 200 else []

    def creation_date(self, name: str) -> int:
        """Milliseconds since 1970."""
        return int(self.get_index_settings(name).get("index.creation_date", 0))

    def delete_index(self, name: str) -> None:
        self.cluster.request("DELETE", f"/{_q(name)}", allow=(404,))

    def create_index(self, name: str, body: Mapping[str, Any]) -> bool:
        """False if an index of that name was there already; raises :class:`ClusterError` for any other refusal."""
        answer = self.cluster.request("PUT", f"/{_q(name)}", body=body, allow=(400,))
        if answer.status == 400 and "resource_already_exists" not in str(answer.body):
            raise ClusterError(f"{self.cluster.url} refused the index {name}: {answer.reason}")
        return answer.status != 400

    def update_aliases(self, body: Mapping[str, Any]) -> None:
        self.cluster.request("POST", "/_aliases", body=body)

    def refresh(self, name: str) -> None:
        self.cluster.request("POST", f"/{_q(name)}/_refresh", repeatable=True)

    def force_merge(self, name: str, segments: int) -> None:
        """Bring each shard into at most so many segments; returns when that is done."""
        path, params = f"/{_q(name)}/_forcemerge", {"max_num_segments": str(segments)}
        self.cluster.request("POST", path, params=params, repeatable=True, timeout=_MERGE_TIMEOUT)

    def store_size(self, name: str) -> int:
        """Bytes of the primary shards."""
        params = {"filter_path": "_all.primaries.store.size_in_bytes"}
        found = _object(self.cluster.request("GET", f"/{_q(name)}/_stats/store", params=params))
        return int(found.get("_all", {}).get("primaries", {}).get("store", {}).get("size_in_bytes", 0))

    def count(self, name: str, query: Mapping[str, Any] | None = None) -> int:
        """Documents of an index or alias, or those that ``query`` matches.

        Raises:
            ClusterError: it is closed, or a shard did not answer.
        """
        if query is not None:
            answer = self.cluster.request("POST", f"/{_q(name)}/_count", body={"query": query}, repeatable=True)
            return _count(name, answer)
        documents = self.count_unless_closed(name)
        if documents is None:
            raise ClusterError(f"{name} on {self.cluster.url} is closed; {self.opening_advice(name)}")
        return documents

    def opening_advice(self, name: str) -> str:
        """How to open a closed index, and what may be needed besides where it has a ``sparse_vector`` field."""
        mappings = json.dumps([body.get("mappings") for body in (self.get_mapping(name) or {}).values()])
        restart = (
            "; where its shards do not start afterwards, as on OpenSearch 3.4 with a sparse_vector field, restart the "
            "nodes that hold them"
        )
        return f"open it with: POST /{name}/_open" + (restart if '"sparse_vector"' in mappings else "")

    def count_unless_closed(self, name: str) -> int | None:
        """Documents of an index or alias; None if it is closed.

        A count goes through the index's default search pipeline and fails where that was deleted; a search that names
        ``_none`` does not.

        Raises:
            ClusterError: a shard did not answer.
        """
        answer = self.cluster.request("GET", f"/{_q(name)}/_count", allow=(400,))
        if answer.status == 200:
            return _count(name, answer)
        if "index_closed_exception" in json.dumps(answer.body):
            return None
        body = {"size": 0, "track_total_hits": True}
        return int(self.search(name, body, {"search_pipeline": "_none"}, whole=True)["hits"]["total"]["value"])

    def writes(self, name: str) -> dict[str, int]:
        """Uuid of each concrete index -> number of the last write to it: no other index and no other time has the same.

        Both outlive a restart of the node, unlike the counters of ``_stats``.
        """
        shown = "indices.*.uuid,indices.*.shards.*.routing.primary,indices.*.shards.*.seq_no.max_seq_no"
        params = {"level": "shards", "filter_path": shown}
        stats = _object(self.cluster.request("GET", f"/{_q(name)}/_stats", params=params))
        return {
            index["uuid"]: sum(
                copy["seq_no"]["max_seq_no"] + 1
                for copies in index["shards"].values()
                for copy in copies
                if copy["routing"]["primary"]
            )
            for index in stats.get("indices", {}).values()
        }

    def get_document(self, index: str, document_id: str) -> dict[str, Any] | None:
        """None if there is none; :class:`ClusterError` if the index does not keep its documents' ``_source``."""
        answer = self.cluster.request("GET", f"/{_q(index)}/_doc/{_q(document_id)}", allow=(404,))
        if answer.status != 200 or not answer.body.get("found"):
            return None
        if "_source" not in answer.body:
            raise ClusterError(f"index {index} does not keep the _source of its documents, so no weight can be shown")
        return dict(answer.body["_source"])

    def put_document(self, index: str, document_id: str, source: Mapping[str, Any]) -> None:
        params = {"refresh": "true"}
        self.cluster.request("PUT", f"/{_q(index)}/_doc/{_q(document_id)}", params=params, body=source, timeout=300)

    def present(self, index: str, ids: Collection[str]) -> set[str]:
        """Which of the documents are there."""
        found = self.get_documents(index, ids, {"_source": "false"})
        return {document["_id"] for document in found if document.get("found")}

    def get_documents(self, index: str, ids: Collection[str], params: Mapping[str, str]) -> list[dict[str, Any]]:
        """One row per id (``_mget``), with ``found``, or ``error`` where the index cannot be read."""
        path, body = f"/{_q(index)}/_mget", {"ids": [*ids]}
        answer = self.cluster.request("POST", path, params=params, body=body, repeatable=True, timeout=300)
        return list(_object(answer).get("docs", []))

    def bulk(self, index: str, body: bytes) -> Answer:
        """Send a bulk body in which every line names its document's id, so that it may be sent twice.

        413 is returned, not raised: the caller can send less at once.
        """
        path = f"/{_q(index)}/_bulk"
        request = self.cluster.request
        return request("POST", path, body=body, content_type=NDJSON, allow=(413,), repeatable=True, timeout=300)

    def search(
        self, index: str, body: Mapping[str, Any], params: Mapping[str, str] | None = None, *, whole: bool = False
    ) -> dict[str, Any]:
        """The answer of one search; with ``whole`` it raises :class:`ClusterError` where a shard did not answer."""
        request = self.cluster.request
        answer = _object(request("POST", f"/{_q(index)}/_search", params=params, body=body, repeatable=True))
        if whole:
            check_shards(index, answer)
        return answer

    def searches(self, index: str, bodies: Iterable[Mapping[str, Any]], shown: str) -> list[dict[str, Any]]:
        """The answers of one ``_msearch``, in order, cut to the ``filter_path`` ``shown``."""
        lines = ndjson(line for body in bodies for line in ({}, body))
        params, path = {"filter_path": shown}, f"/{_q(index)}/_msearch"
        answer = self.cluster.request("POST", path, params=params, body=lines, repeatable=True, timeout=300)
        return list(_object(answer)["responses"])

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
        body, path = {"size": size, "_source": dict(source), **everything}, f"/{_q(index)}/_search"
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

    def simulate(self, pipeline: str, documents: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """What an ingest pipeline makes of each document: its ``_source``, or ``error``; asked for as they are read.

        With ``skip_existing`` a document is looked up first, so it must name an index that exists, which lacks its id.
        """
        place = {"_index": names.BUNDLES_INDEX, "_id": "simulated"}
        path = f"/_ingest/pipeline/{_q(pipeline)}/_simulate"
        for start in range(0, len(documents), _SIMULATED_AT_ONCE):
            sources = documents[start : start + _SIMULATED_AT_ONCE]
            body = {"docs": [{**place, "_source": source} for source in sources]}
            answer = self.cluster.request("POST", path, body=body, repeatable=True, timeout=300)
            yield from (simulated.get("doc", simulated) for simulated in _object(answer)["docs"])

    def simulate_processors(
        self, index: str, processors: Sequence[Mapping[str, Any]], documents: Sequence[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        """What processors make of documents on their way into ``index``: ``_source`` of each, or ``error``."""
        docs = [{"_index": index, "_id": "simulated", "_source": document} for document in documents]
        body = {"pipeline": {"processors": [*processors]}, "docs": docs}
        path = "/_ingest/pipeline/_simulate"
        answer = self.cluster.request("POST", path, body=body, repeatable=True, timeout=300)
        return [found.get("doc", found) for found in _object(answer)["docs"]]

    def delete_ingest_pipeline(self, name: str) -> None:
        self.cluster.request("DELETE", f"/_ingest/pipeline/{_q(name)}", allow=(404,))

    def delete_search_pipeline(self, name: str) -> None:
        self.cluster.request("DELETE", f"/_search/pipeline/{_q(name)}", allow=(404,))

    def delete_document(self, index: str, document_id: str) -> None:
        params = {"refresh": "true"}
        self.cluster.request("DELETE", f"/{_q(index)}/_doc/{_q(document_id)}", params=params, allow=(404,))

    def get_ingest_pipeline(self, name: str) -> dict[str, Any] | None:
        return self._pipeline(f"/_ingest/pipeline/{_q(name)}", name)

    def put_ingest_pipeline(self, name: str, body: Mapping[str, Any]) -> None:
        self.cluster.request("PUT", f"/_ingest/pipeline/{_q(name)}", body=body)

    def get_search_pipeline(self, name: str) -> dict[str, Any] | None:
        return self._pipeline(f"/_search/pipeline/{_q(name)}", name)

    def put_search_pipeline(self, name: str, body: Mapping[str, Any]) -> None:
        self.cluster.request("PUT", f"/_search/pipeline/{_q(name)}", body=body)

    def ingest_pipelines(self) -> dict[str, Any]:
        """Name -> body of every ingest pipeline of the cluster."""
        return self._pipelines("/_ingest/pipeline/*")

    def search_pipelines(self) -> dict[str, Any]:
        """Name -> body of every search pipeline of the cluster."""
        return self._pipelines("/_search/pipeline/*")

    def _pipelines(self, path: str) -> dict[str, Any]:
        answer = self.cluster.request("GET", path, allow=(404,))
        return _object(answer) if answer.status == 200 else {}

    def _pipeline(self, path: str, name: str) -> dict[str, Any] | None:
        answer = self.cluster.request("GET", path, allow=(404,))
        return None if answer.status == 404 else _object(answer).get(name)


def ndjson(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """A bulk body: one JSON object per line, a newline at the end."""
    return b"".join(json.dumps(row, ensure_ascii=False).encode("utf-8", "replace") + b"\n" for row in rows)


def _page(index: str, answer: Answer) -> dict[str, Any]:
    """Hits of a search; raises :class:`ClusterError` where a shard did not answer: its documents are missing."""
    page = _object(answer)
    check_shards(index, page)
    return page


def _count(index: str, answer: Answer) -> int:
    """Of a ``_count``; raises :class:`ClusterError` where a shard did not answer."""
    body = _object(answer)
    check_shards(index, body)
    return int(body["count"])


def _object(answer: Answer) -> dict[str, Any]:
    return answer.body if isinstance(answer.body, dict) else {}


def _strings(node: object) -> Iterator[str]:
    """Every string value of a JSON object, at any depth."""
    if isinstance(node, Mapping):
        for value in node.values():
            yield from _strings(value)
    elif isinstance(node, str):
        yield node


def _q(segment: str) -> str:
    return quote(segment, safe="")
