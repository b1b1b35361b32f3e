"""Calls on indices, their mappings, settings and aliases."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from osparse.deployer.cluster.rest.answers import Calls, as_object, quoted, strings_of
from osparse.errors import ClusterError

_UNSEEN = (400, 403, 404, 405)
"""What a cluster answers whose user may not look at its index templates, or that has none."""
MERGE_TIMEOUT = 3600
"""Seconds: a SEISMIC index of millions of documents is built again while it is merged."""
_EVERY_INDEX = "open,closed,hidden"
"""For ``expand_wildcards``: without it, closed and hidden indices are left out of what a wildcard names."""


class IndexCalls(Calls):
    """Indices, mappings, settings, aliases and segments."""

    def get_index(self, name: str) -> dict[str, Any] | None:
        """Concrete index -> aliases, mappings, settings, of an index or alias; None if there is none."""
        answer = self.cluster.request("GET", f"/{quoted(name)}", allow=(404,))
        return None if answer.status == 404 else as_object(answer)

    def index_templates(self) -> dict[str, Any]:
        """Composable index templates by name; none where the user may not see them."""
        answer = self.cluster.request("GET", "/_index_template", allow=_UNSEEN)
        rows = as_object(answer).get("index_templates", []) if answer.status == 200 else []
        return {row["name"]: row["index_template"] for row in rows}

    def legacy_templates(self) -> dict[str, Any]:
        """Legacy index templates by name; none where the user may not see them."""
        answer = self.cluster.request("GET", "/_template", allow=_UNSEEN)
        return as_object(answer) if answer.status == 200 else {}

    def simulated_index(self, name: str) -> dict[str, Any]:
        """What a new index of this name would take from the composable templates: settings, mappings, aliases."""
        answer = self.cluster.request(
            "POST", f"/_index_template/_simulate_index/{quoted(name)}", allow=_UNSEEN, repeatable=True
        )
        return dict(as_object(answer).get("template") or {}) if answer.status == 200 else {}

    def get_mapping(self, name: str) -> dict[str, Any] | None:
        """Concrete index -> mappings, of an index or alias; None if there is none."""
        answer = self.cluster.request("GET", f"/{quoted(name)}/_mapping", allow=(404,))
        return None if answer.status == 404 else as_object(answer)

    def put_mapping(self, name: str, body: Mapping[str, Any]) -> None:
        self.cluster.request("PUT", f"/{quoted(name)}/_mapping", body=body)

    def get_index_settings(self, name: str) -> dict[str, str]:
        """The settings of one concrete index, flat (``index.default_pipeline``); those never set are not there."""
        params = {"flat_settings": "true"}
        body = as_object(self.cluster.request("GET", f"/{quoted(name)}/_settings", params=params))
        return dict(body.get(name, {}).get("settings", {}))

    def index_uuid(self, name: str) -> str | None:
        """Differs between an index and another one of its name; None if there is none."""
        params = {"flat_settings": "true", "filter_path": "*.settings.index.uuid"}
        answer = self.cluster.request("GET", f"/{quoted(name)}/_settings", params=params, allow=(404,))
        settings = as_object(answer).get(name, {}).get("settings", {}) if answer.status == 200 else {}
        return settings.get("index.uuid")

    def put_index_settings(self, name: str, body: Mapping[str, Any]) -> None:
        """Flat; a value of None takes the setting away."""
        self.cluster.request("PUT", f"/{quoted(name)}/_settings", body=body)

    def all_meta(self, pattern: str = "_all") -> dict[str, Any]:
        """Concrete index -> ``_meta`` of every index of the pattern that has any, hidden and closed ones too."""
        params = {"filter_path": "*.mappings._meta", "expand_wildcards": _EVERY_INDEX}
        body = as_object(self.cluster.request("GET", f"/{quote(pattern, safe='*')}/_mapping", params=params))
        return {name: found["mappings"]["_meta"] for name, found in body.items()}

    def default_pipelines(self) -> dict[str, set[str]]:
        """Concrete index -> the pipelines that its settings name, of every index that names one."""
        named = "default_pipeline", "final_pipeline", "search.default_pipeline"
        params = {
            "filter_path": ",".join(f"*.settings.index.{setting}" for setting in named),
            "expand_wildcards": _EVERY_INDEX,
        }
        body = as_object(self.cluster.request("GET", "/_all/_settings", params=params))
        return {name: set(strings_of(settings)) - {"_none"} for name, settings in body.items()}

    def mapped_models(self) -> dict[str, set[str]]:
        """Concrete index -> ids of the models that its ``semantic`` fields name, of every index."""
        named = "*.mappings.**.model_id,*.mappings.**.search_model_id"
        params = {"filter_path": named, "expand_wildcards": _EVERY_INDEX}
        body = as_object(self.cluster.request("GET", "/_all/_mapping", params=params))
        return {name: set(strings_of(mappings)) for name, mappings in body.items()}

    def aliases(self, index: str) -> list[str]:
        return sorted(self.alias_properties(index))

    def alias_properties(self, index: str) -> dict[str, dict[str, Any]]:
        """Alias -> its filter, routing and flags, of every alias that stands on the index."""
        answer = self.cluster.request("GET", f"/{quoted(index)}/_alias")
        return {name: body for found in as_object(answer).values() for name, body in found.get("aliases", {}).items()}

    def indices_of_alias(self, alias: str) -> list[str]:
        """The concrete indices an alias stands on; none if there is no such alias."""
        answer = self.cluster.request("GET", f"/_alias/{quoted(alias)}", allow=(404,))
        return sorted(as_object(answer)) if answer.status == 200 else []

    def creation_date(self, name: str) -> int:
        """Milliseconds since 1970."""
        return int(self.get_index_settings(name).get("index.creation_date", 0))

    def delete_index(self, name: str) -> None:
        self.cluster.request("DELETE", f"/{quoted(name)}", allow=(404,))

    def create_index(self, name: str, body: Mapping[str, Any]) -> bool:
        """False if an index of that name was there already; raises :class:`ClusterError` for any other refusal."""
        answer = self.cluster.request("PUT", f"/{quoted(name)}", body=body, allow=(400,))
        if answer.status == 400 and "resource_already_exists" not in str(answer.body):
            raise ClusterError(f"{self.cluster.url} refused the index {name}: {answer.reason}")
        return answer.status != 400

    def update_aliases(self, body: Mapping[str, Any]) -> None:
        self.cluster.request("POST", "/_aliases", body=body)

    def refresh(self, name: str, *, timeout: float | None = None) -> None:
        """Show to searches what was written.

        Args:
            timeout: Seconds, where more than the client's own may be needed: a refresh builds the clusters of a
                ``sparse_vector`` field, which takes minutes for some thousand documents.
        """
        self.cluster.request("POST", f"/{quoted(name)}/_refresh", repeatable=True, timeout=timeout)

    def force_merge(self, name: str, segments: int) -> None:
        """Bring each shard into at most so many segments; returns when that is done."""
        path, params = f"/{quoted(name)}/_forcemerge", {"max_num_segments": str(segments)}
        self.cluster.request("POST", path, params=params, repeatable=True, timeout=MERGE_TIMEOUT)

    def segments(self, name: str) -> dict[str, Any]:
        """Concrete index -> its shards, each with its copies and their segments."""
        return dict(as_object(self.cluster.request("GET", f"/{quoted(name)}/_segments")).get("indices", {}))

    def shard_copies(self, index: str) -> dict[str, list[dict[str, Any]]]:
        """Shard -> its copies, each with ``routing.primary`` and ``seq_no.global_checkpoint``."""
        shown = "indices.*.shards.*.routing.primary,indices.*.shards.*.seq_no.global_checkpoint"
        params = {"level": "shards", "filter_path": shown}
        stats = as_object(self.cluster.request("GET", f"/{quoted(index)}/_stats", params=params))
        return dict(stats.get("indices", {}).get(index, {}).get("shards", {}))

    def block_writes(self, index: str) -> None:
        """Refuse writes; when this returns, every write that was accepted before has been made."""
        self.cluster.request("PUT", f"/{quoted(index)}/_block/write")

    def clone_index(self, index: str, target: str, body: Mapping[str, Any]) -> None:
        """A second index of the same segments, which takes seconds; ``index`` must refuse writes."""
        self.cluster.request("POST", f"/{quoted(index)}/_clone/{quoted(target)}", body=body, timeout=300)

    def warm_up_seismic(self, index: str) -> dict[str, Any]:
        """Load the SEISMIC clusters of an index into the caches of its nodes; the answer names the failed shards."""
        path = f"/_plugins/_neural/warmup/{quoted(index)}"
        return as_object(self.cluster.request("POST", path, repeatable=True, timeout=600))

    def store_size(self, name: str) -> int:
        """Bytes of the primary shards."""
        params = {"filter_path": "_all.primaries.store.size_in_bytes"}
        found = as_object(self.cluster.request("GET", f"/{quoted(name)}/_stats/store", params=params))
        return int(found.get("_all", {}).get("primaries", {}).get("store", {}).get("size_in_bytes", 0))

    def opening_advice(self, name: str) -> str:
        """How to open a closed index, and what may be needed besides where it has a ``sparse_vector`` field."""
        mappings = json.dumps([body.get("mappings") for body in (self.get_mapping(name) or {}).values()])
        restart = (
            "; where its shards do not start afterwards, as on OpenSearch 3.4 with a sparse_vector field, restart the "
            "nodes that hold them"
        )
        return f"open it with: POST /{name}/_open" + (restart if '"sparse_vector"' in mappings else "")

    def writes(self, name: str) -> dict[str, int]:
        """Uuid of each concrete index -> number of the last write to it: no other index and no other time has the same.

        Both outlive a restart of the node, unlike the counters of ``_stats``.
        """
        shown = "indices.*.uuid,indices.*.shards.*.routing.primary,indices.*.shards.*.seq_no.max_seq_no"
        params = {"level": "shards", "filter_path": shown}
        stats = as_object(self.cluster.request("GET", f"/{quoted(name)}/_stats", params=params))
        return {
            index["uuid"]: sum(
                copy["seq_no"]["max_seq_no"] + 1
                for copies in index["shards"].values()
                for copy in copies
                if copy["routing"]["primary"]
            )
            for index in stats.get("indices", {}).values()
        }
