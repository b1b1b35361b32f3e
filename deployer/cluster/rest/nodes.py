"""Calls on the cluster as a whole, its nodes and its settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from osparse.deployer.cluster.rest.answers import Calls, as_object
from osparse.errors import ClusterError


class NodeCalls(Calls):
    """The cluster, its nodes and settings."""

    def root(self) -> dict[str, Any]:
        answer = self.cluster.request("GET", "/", allow=(404,))
        if answer.status == 404:
            raise ClusterError(
                f"{self.cluster.url} answers GET / with 404: check the address; for a Serverless collection "
                "pass `aws_region` and `aws_service=aoss`"
            )
        return as_object(answer)

    def plugins(self) -> list[dict[str, Any]]:
        found = self.cluster.request("GET", "/_cat/plugins", params={"format": "json"}).body
        return found if isinstance(found, list) else []

    def nodes(self) -> dict[str, Any]:
        """Node id -> name, version, roles."""
        filters = "nodes.*.name,nodes.*.version,nodes.*.roles"
        answer = self.cluster.request("GET", "/_nodes/plugins", params={"filter_path": filters})
        return dict(as_object(answer).get("nodes", {}))

    def node_memory(self) -> dict[str, Any]:
        """Node id -> name and ``os.mem`` usage."""
        filters = "nodes.*.name,nodes.*.os.mem"
        answer = self.cluster.request("GET", "/_nodes/stats/os", params={"filter_path": filters})
        return dict(as_object(answer).get("nodes", {}))

    def node_stats(self) -> dict[str, Any]:
        """Node id -> name, heap, memory and disk in use, and the size of the heap."""
        heap = "jvm.mem.heap_used_percent", "jvm.mem.heap_max_in_bytes"
        shown = "name", *heap, "os.mem.used_percent", "fs.total.available_in_bytes"
        params = {"filter_path": ",".join(f"nodes.*.{one}" for one in shown)}
        answer = self.cluster.request("GET", "/_nodes/stats/os,jvm,fs", params=params)
        return dict(as_object(answer).get("nodes", {}))

    def node_places(self) -> dict[str, Any]:
        """Node id -> name, processor (``os.arch``) and ``settings.path.data``, where the node shows them."""
        shown = "name", "os.arch", "settings.path.data"
        params = {"filter_path": ",".join(f"nodes.*.{one}" for one in shown)}
        answer = self.cluster.request("GET", "/_nodes/os,settings", params=params)
        return dict(as_object(answer).get("nodes", {}))

    def node_processors(self) -> list[int]:
        """Processors that each node may use."""
        params = {"filter_path": "nodes.*.os.allocated_processors"}
        nodes = as_object(self.cluster.request("GET", "/_nodes/os", params=params)).get("nodes", {})
        return [int(node["os"]["allocated_processors"]) for node in nodes.values()]

    def settings(self) -> dict[str, str]:
        """Every cluster setting in force, flat: transient over persistent over default."""
        params = {"include_defaults": "true", "flat_settings": "true"}
        body = as_object(self.cluster.request("GET", "/_cluster/settings", params=params))
        return {**body.get("defaults", {}), **body.get("persistent", {}), **body.get("transient", {})}

    def persistent_settings(self) -> dict[str, str]:
        """The cluster settings that somebody has set for good, flat."""
        body = as_object(self.cluster.request("GET", "/_cluster/settings", params={"flat_settings": "true"}))
        return dict(body.get("persistent", {}))

    def put_settings(self, body: Mapping[str, Any]) -> None:
        self.cluster.request("PUT", "/_cluster/settings", body=body)

    def has_analyzer(self, analyzer: str) -> bool:
        body = {"analyzer": analyzer, "text": "a"}
        return self.cluster.request("POST", "/_analyze", body=body, allow=(400,), repeatable=True).status == 200

    def neural_statistics(self) -> dict[str, Any]:
        """Of neural-search over all nodes; empty where the endpoint is turned off or not there."""
        answer = self.cluster.request("GET", "/_plugins/_neural/stats", allow=(400, 403, 404))
        return dict(as_object(answer).get("all_nodes", {})) if answer.status == 200 else {}
