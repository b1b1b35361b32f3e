"""A real HTTP server that answers as OpenSearch 3.4.0 with ML Commons and neural-search does.

Statuses, texts and quirks are those measured on the real one: a model reads REGISTERED when its last chunk arrives,
its description is lost then, a zip is judged only by the deploy task, ... The uploaded zip really runs. ``faults`` make
any call fail on purpose.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

from local_http import serving
from mlcommons_connectors import ConnectorCalls
from mlcommons_http import Fault, Handler, Request
from mlcommons_index_calls import IndexCalls
from mlcommons_model_calls import ModelCalls
from mlcommons_refusals import Refused
from mlcommons_segments import SegmentCalls
from mlcommons_state import DEFAULTS, ML_PLUGINS, NODE

__all__ = ["DEFAULTS", "ML_PLUGINS", "Fault", "MLCommonsServer", "mlcommons_server"]


class MLCommonsServer(ModelCalls, ConnectorCalls, IndexCalls, SegmentCalls):
    """Start with :func:`mlcommons_server`."""

    def answer(self, method: str, path: str, query: dict[str, str], kind: str, data: bytes) -> tuple[int, Any]:
        """Status and body; everything that changes happens under one lock."""
        with self.lock:
            self._tick()
            for pattern, methods, name in ROUTES:
                found = re.fullmatch(pattern, path)
                if found and method in methods.split():
                    request = Request(method, query, data, tuple(unquote(part or "") for part in found.groups()))
                    try:
                        result = getattr(self, name)(request)
                    except Refused as refused:
                        return refused.status, refused.body()
                    return result if isinstance(result, tuple) else (200, result)
        return 400, {"error": f"no handler found for uri [{path}] and method [{method}]"}

    def root(self, request: Request) -> Any:
        version = {"distribution": "opensearch", "number": "3.4.0", "lucene_version": "10.3.2"}
        tagline = "The OpenSearch Project: https://opensearch.org/"
        return {"name": "n1", "cluster_name": "testnode", "version": version, "tagline": tagline}

    def cat_plugins(self, request: Request) -> Any:
        return [{"name": "n1", "component": plugin, "version": "3.4.0.0"} for plugin in self.plugins]

    def nodes(self, request: Request) -> Any:
        return {"nodes": {NODE: {"name": "n1", "version": "3.4.0", "roles": self.roles}}}

    def node_stats(self, request: Request) -> Any:
        node = {"name": "n1", "os": {"mem": {"used_percent": self.memory_percent}}}
        disk = {"available_in_bytes": self.disk_free, "total_in_bytes": 20_000_000_000}
        breaker = {"limit_size_in_bytes": 1_000_000_000, "estimated_size_in_bytes": self.breaker_bytes}
        more = {
            "roles": self.roles,
            "jvm": {"mem": {"heap_used_percent": self.heap_percent, "heap_max_in_bytes": 1_000_000_000}},
            "fs": {"total": disk},
            "breakers": {"parent": breaker},
        }
        return {"nodes": {NODE: {**node, **more}}}

    def node_processors(self, request: Request) -> Any:
        return {"nodes": {NODE: {"os": {"allocated_processors": 8}}}}

    def health(self, request: Request) -> Any:
        shards = sum(int(index.settings.get("number_of_shards", 1)) for index in self.indices.values())
        return {"status": self.health_status, "number_of_data_nodes": 1, "active_shards": shards}

    def node_places(self, request: Request) -> Any:
        data = {"path": {"data": "/var/lib/opensearch"}}
        return {"nodes": {NODE: {"name": "n1", "os": {"arch": "amd64"}, "settings": data}}}

    def settings(self, request: Request) -> Any:
        if request.method == "PUT":
            for key, value in request.json["persistent"].items():
                if key not in DEFAULTS:
                    reason = f"persistent setting [{key}], not recognized"
                    raise Refused(400, "settings_exception", reason)
                if key.endswith("_threshold") and value is not None and int(value) > 100:
                    reason = f"Failed to parse value [{value}] for setting [{key}] must be <= 100"
                    raise Refused(400, "illegal_argument_exception", reason)
                self.persistent.pop(key, None)
                if value is not None:
                    self.persistent[key] = value if isinstance(value, list) else str(value).lower()
            return {"acknowledged": True, "persistent": self.persistent, "transient": {}}
        body: dict[str, Any] = {"persistent": self.persistent, "transient": {}}
        if request.query.get("include_defaults") == "true":
            body["defaults"] = {k: v for k, v in DEFAULTS.items() if k not in self.persistent}
        return body

    def analyze(self, request: Request) -> Any:
        name = request.json["analyzer"]
        if name not in self.analyzers:
            raise Refused(400, "illegal_argument_exception", f"failed to find global analyzer [{name}]")
        return {"tokens": []}


_ML, _N = r"/_plugins/_ml", r"([^/_][^/]*)"
ROUTES = (
    (r"/", "GET", "root"),
    (r"/_cat/plugins", "GET", "cat_plugins"),
    (r"/_cat/indices(?:/([^/]+))?", "GET", "cat_indices"),
    (r"/_nodes/plugins", "GET", "nodes"),
    (r"/_nodes/stats/os", "GET", "node_stats"),
    (r"/_nodes/stats/os,jvm,fs", "GET", "node_stats"),
    (r"/_nodes/stats/breaker,fs", "GET", "node_stats"),
    (r"/_cluster/health", "GET", "health"),
    (r"/_nodes/os,settings", "GET", "node_places"),
    (r"/_nodes/os", "GET", "node_processors"),
    (r"/_plugins/_neural/stats", "GET", "neural_stats"),
    (r"/_plugins/_neural/warmup/([^/]+)", "POST", "neural_warm_up"),
    (r"/_cluster/settings", "GET PUT", "settings"),
    (r"/_analyze", "POST", "analyze"),
    (rf"{_ML}/model_groups/_register", "POST", "group_register"),
    (rf"{_ML}/model_groups/_search", "POST", "group_search"),
    (rf"{_ML}/model_groups/([^/]+)", "GET PUT DELETE", "group_get"),
    (rf"{_ML}/models/_register_meta", "POST", "model_register_meta"),
    (rf"{_ML}/models/_register", "POST", "model_register_url"),
    (rf"{_ML}/models/_search", "POST", "model_search"),
    (rf"{_ML}/models/()_undeploy", "POST", "model_undeploy"),
    (rf"{_ML}/models/([^/]+)/upload_chunk/([^/]+)", "POST", "model_chunk"),
    (rf"{_ML}/models/([^/]+)/_deploy", "POST", "model_deploy"),
    (rf"{_ML}/models/([^/]+)/_undeploy", "POST", "model_undeploy"),
    (rf"{_ML}/models/([^/]+)/_predict", "POST", "model_predict"),
    (rf"{_ML}/_predict/([^/]+)/([^/]+)", "POST", "model_predict"),
    (rf"{_ML}/models/([^/]+)", "GET PUT DELETE", "model_get"),
    (rf"{_ML}/tasks/([^/]+)", "GET", "task_get"),
    (rf"{_ML}/profile/models", "GET", "profile_models"),
    (rf"{_ML}/connectors/_create", "POST", "connector_create"),
    (rf"{_ML}/connectors/_search", "POST GET", "connector_search"),
    (rf"{_ML}/connectors/([^/]+)", "GET PUT DELETE", "connector"),
    (r"/_ingest/pipeline/_simulate", "POST", "simulate"),
    (r"/_ingest/pipeline/([^/]+)/_simulate", "POST", "simulate"),
    (r"/_ingest/pipeline/([^/]+)", "GET PUT DELETE", "ingest_pipeline"),
    (r"/_search/pipeline/([^/]+)", "GET PUT DELETE", "search_pipeline"),
    (r"/_index_template/_simulate_index/([^/]+)", "POST", "simulate_index"),
    (r"/_index_template(?:/([^/]+))?", "GET PUT DELETE", "index_template"),
    (r"/_template(?:/([^/]+))?", "GET PUT", "legacy_template"),
    (r"/_alias/([^/]+)", "GET", "alias_get"),
    (r"/_aliases", "POST", "aliases_post"),
    (r"/(_all)/_mapping", "GET", "mapping_get"),
    (r"/(_all)/_settings", "GET", "settings_of_index"),
    (r"/_search/scroll", "POST DELETE", "scroll"),
    (r"/()_bulk", "POST", "bulk"),
    (r"/()_msearch", "POST", "msearch"),
    (rf"/{_N}/_mapping", "GET PUT", "mapping_get"),
    (rf"/{_N}/_settings", "GET PUT", "settings_of_index"),
    (rf"/{_N}/_alias", "GET", "alias_of_index"),
    (rf"/{_N}/_(open|close)", "POST", "index_close"),
    (rf"/{_N}/_refresh", "POST", "refresh"),
    (rf"/{_N}/_forcemerge", "POST", "force_merge"),
    (rf"/{_N}/_segments", "GET", "segments"),
    (rf"/{_N}/_block/write", "PUT", "index_block"),
    (rf"/{_N}/_clone/([^/]+)", "POST", "index_clone"),
    (rf"/{_N}/_count", "GET POST", "count"),
    (rf"/{_N}/_stats/store", "GET", "store_stats"),
    (rf"/{_N}/_stats", "GET", "shard_stats"),
    (rf"/{_N}/_mget", "POST", "mget"),
    (rf"/{_N}/_bulk", "POST", "bulk"),
    (rf"/{_N}/_search", "POST GET", "search"),
    (rf"/{_N}/_msearch", "POST", "msearch"),
    (rf"/{_N}/_doc/([^/]+)", "GET PUT DELETE", "document"),
    (rf"/{_N}/_update/([^/]+)", "POST", "update"),
    (rf"/{_N}/_update_by_query", "POST", "update_by_query"),
    (rf"/{_N}", "PUT", "index_put"),
    (rf"/{_N}", "GET HEAD", "index_get"),
    (rf"/{_N}", "DELETE", "index_delete"),
)
"""Pattern, methods, name of the method that answers; the first that fits."""


@contextmanager
def mlcommons_server(
    plugins: tuple[str, ...] = ML_PLUGINS, settings: dict[str, str] | None = None
) -> Iterator[MLCommonsServer]:
    """A running server on a free port of 127.0.0.1."""
    emulator = MLCommonsServer(plugins, settings)
    handler = type("Handler", (Handler,), {"emulator": emulator})
    with serving(handler) as emulator.url:
        yield emulator
