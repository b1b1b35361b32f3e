"""Which permissions the security plugin asks for at which call: the names of the transport actions behind the REST API.

Sources: the permissions and default action groups of the OpenSearch Security documentation, and the ``NAME`` of each
action in OpenSearch and ml-commons. Scroll, bulk, multi-get and multi-search are permissions of the cluster, although
their names begin with ``indices:``; what they do to an index is asked for beside them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

_ML = "cluster:admin/opensearch/ml"
_BULK = "cluster indices:data/write/bulk", "index indices:data/write/bulk[s]"
_PATH_ML = r"/_plugins/_ml"
_INDEX = r"/([^/]+)"


@dataclass(frozen=True)
class Needed:
    """One permission that a call needs."""

    level: str
    """cluster or index."""
    action: str
    index: str | None = None
    """As the request names it; "*" for a request that names none."""


_CALLS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("GET", r"/", ("cluster cluster:monitor/main",)),
    ("GET", r"/_cat/plugins", ("cluster cluster:monitor/state", "cluster cluster:monitor/nodes/info")),
    ("GET", r"/_nodes/stats/.*", ("cluster cluster:monitor/nodes/stats",)),
    ("GET", r"/_nodes/.*", ("cluster cluster:monitor/nodes/info",)),
    ("GET", r"/_cluster/health", ("cluster cluster:monitor/health",)),
    ("GET", r"/_cluster/settings", ("cluster cluster:monitor/state",)),
    ("PUT", r"/_cluster/settings", ("cluster cluster:admin/settings/update",)),
    ("POST", r"/_analyze", ("index indices:admin/analyze",)),
    ("GET", r"/_index_template.*", ("cluster indices:admin/index_template/get",)),
    ("GET", r"/_template.*", ("cluster indices:admin/template/get",)),
    ("POST", r"/_index_template/_simulate_index/.*", ("cluster indices:admin/index_template/simulate_index",)),
    ("POST", rf"{_PATH_ML}/model_groups/_register", (f"cluster {_ML}/register_model_group",)),
    ("POST", rf"{_PATH_ML}/model_groups/_search", (f"cluster {_ML}/model_groups/search",)),
    ("GET", rf"{_PATH_ML}/model_groups/[^/]+", (f"cluster {_ML}/model_groups/get",)),
    ("PUT", rf"{_PATH_ML}/model_groups/[^/]+", (f"cluster {_ML}/update_model_group",)),
    ("DELETE", rf"{_PATH_ML}/model_groups/[^/]+", (f"cluster {_ML}/model_groups/delete",)),
    ("POST", rf"{_PATH_ML}/models/_register_meta", (f"cluster {_ML}/register_model_meta",)),
    ("POST", rf"{_PATH_ML}/models/_register", (f"cluster {_ML}/register_model",)),
    ("POST", rf"{_PATH_ML}/models/_search", (f"cluster {_ML}/models/search",)),
    ("POST", rf"{_PATH_ML}/connectors/_search", (f"cluster {_ML}/connectors/search",)),
    ("POST", rf"{_PATH_ML}/models/[^/]+/upload_chunk/.*", (f"cluster {_ML}/upload_model_chunk",)),
    ("POST", rf"{_PATH_ML}/models/[^/]+/_deploy", (f"cluster {_ML}/deploy_model",)),
    ("POST", rf"{_PATH_ML}/models/([^/]+/)?_undeploy", (f"cluster {_ML}/undeploy_models",)),
    ("POST", rf"{_PATH_ML}/(models/[^/]+/_predict|_predict/.*)", (f"cluster {_ML}/predict",)),
    ("GET", rf"{_PATH_ML}/models/[^/]+", (f"cluster {_ML}/models/get",)),
    ("DELETE", rf"{_PATH_ML}/models/[^/]+", (f"cluster {_ML}/models/delete",)),
    ("GET", rf"{_PATH_ML}/tasks/[^/]+", (f"cluster {_ML}/tasks/get",)),
    ("GET", rf"{_PATH_ML}/profile/models", (f"cluster {_ML}/profile/nodes",)),
    ("POST", r"/_ingest/pipeline/[^/]+/_simulate", ("cluster cluster:admin/ingest/pipeline/simulate",)),
    ("GET", r"/_ingest/pipeline/.*", ("cluster cluster:admin/ingest/pipeline/get",)),
    ("PUT", r"/_ingest/pipeline/.*", ("cluster cluster:admin/ingest/pipeline/put",)),
    ("DELETE", r"/_ingest/pipeline/.*", ("cluster cluster:admin/ingest/pipeline/delete",)),
    ("GET", r"/_search/pipeline/.*", ("cluster cluster:admin/search/pipeline/get",)),
    ("PUT", r"/_search/pipeline/.*", ("cluster cluster:admin/search/pipeline/put",)),
    ("DELETE", r"/_search/pipeline/.*", ("cluster cluster:admin/search/pipeline/delete",)),
    ("POST", r"/_search/scroll", ("cluster indices:data/read/scroll",)),
    ("DELETE", r"/_search/scroll", ("cluster indices:data/read/scroll/clear",)),
    ("POST", r"/_aliases", ("index indices:admin/aliases",)),
    ("GET", r"/_alias/([^/]+)", ("index indices:admin/aliases/get",)),
    ("GET", rf"{_INDEX}/_alias", ("index indices:admin/aliases/get",)),
    ("GET", rf"{_INDEX}/_mapping", ("index indices:admin/mappings/get",)),
    ("PUT", rf"{_INDEX}/_mapping", ("index indices:admin/mapping/put",)),
    ("GET", rf"{_INDEX}/_settings", ("index indices:monitor/settings/get",)),
    ("PUT", rf"{_INDEX}/_settings", ("index indices:admin/settings/update",)),
    ("PUT", rf"{_INDEX}/_block/[^/]+", ("index indices:admin/block/add",)),
    ("POST", rf"{_INDEX}/_open", ("index indices:admin/open",)),
    ("POST", rf"{_INDEX}/_close", ("index indices:admin/close",)),
    ("POST", rf"{_INDEX}/_refresh", ("index indices:admin/refresh",)),
    ("POST", rf"{_INDEX}/_forcemerge", ("index indices:admin/forcemerge",)),
    ("GET", rf"{_INDEX}/_stats(/store)?", ("index indices:monitor/stats",)),
    ("GET POST", rf"{_INDEX}/_(?:count|search)", ("index indices:data/read/search",)),
    ("POST", rf"{_INDEX}/_msearch", ("cluster indices:data/read/msearch", "index indices:data/read/search")),
    ("POST", rf"{_INDEX}/_mget", ("cluster indices:data/read/mget", "index indices:data/read/mget[shard]")),
    ("GET", rf"{_INDEX}/_doc/.*", ("index indices:data/read/get",)),
    ("PUT", rf"{_INDEX}/_doc/.*", ("index indices:data/write/index", *_BULK)),
    ("DELETE", rf"{_INDEX}/_doc/.*", ("index indices:data/write/delete", *_BULK)),
    ("POST", rf"{_INDEX}/_update/.*", ("index indices:data/write/update", *_BULK)),
    ("POST", rf"{_INDEX}/_update_by_query",
     ("index indices:data/write/update/byquery", "index indices:data/read/search", *_BULK)),
    ("POST", rf"{_INDEX}/_bulk", _BULK),
    ("PUT", _INDEX, ("index indices:admin/create",)),
    ("GET HEAD", _INDEX, ("index indices:admin/get",)),
    ("DELETE", _INDEX, ("index indices:admin/delete",)),
)  # fmt: skip
"""Methods, path, permissions; the first that fits counts."""
_ITEMS = {"index": "index", "create": "index", "delete": "delete", "update": "update"}
OPEN_TO_ALL = ("/_plugins/_security/authinfo",)


def needed(method: str, path: str, data: bytes = b"") -> list[Needed]:
    """Every permission of one call; an unknown call needs one that no role has."""
    for methods, pattern, permissions in _CALLS:
        fitting = re.fullmatch(pattern, path)
        if fitting and method in methods.split():
            index = fitting.group(1) if _INDEX in pattern or "([^/]+)" in pattern else None
            parted = [permission.split(" ") for permission in permissions]
            listed = [Needed(level, action, _index(level, index, path, data)) for level, action in parted]
            return [*listed, *_of_body(method, path, index, data)]
    return [Needed("cluster", f"unknown call {method} {path}")]


def _index(level: str, index: str | None, path: str, data: bytes) -> str | None:
    if level == "cluster":
        return None
    if path == "/_aliases":
        return str(next(iter(json.loads(data)["actions"][0].values()))["index"])
    return "*" if index in (None, "_all") else index


def _of_body(method: str, path: str, index: str | None, data: bytes) -> list[Needed]:
    """What only the body tells: the kinds of a bulk's items, the aliases of a new index and of ``_aliases``."""
    if path.endswith("/_bulk"):
        kinds = {key for line in data.splitlines() if line for key in json.loads(line) if key in _ITEMS}
        kinds = {key for key in kinds if f'{{"{key}"'.encode() in data}
        return [Needed("index", f"indices:data/write/{_ITEMS[kind]}", index) for kind in sorted(kinds)]
    if path == "/_aliases":
        actions = [next(iter(action.values())) for action in json.loads(data)["actions"]]
        names = {str(body[key]) for body in actions for key in ("index", "alias")}
        return [Needed("index", "indices:admin/aliases", name) for name in sorted(names)]
    if method == "PUT" and path.count("/") == 1 and data and json.loads(data).get("aliases"):
        return [Needed("index", "indices:admin/aliases", index)]
    return []
