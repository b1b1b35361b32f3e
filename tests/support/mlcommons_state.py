"""What the test server remembers, and what a test asks about."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from fnmatch import fnmatch
from typing import Any

from mlcommons_http import Call, Fault
from mlcommons_index import Index
from mlcommons_models import Runtime
from mlcommons_refusals import Refused, index_closed, no_such_index
from mlcommons_remote import RemoteRuntime

ML_PLUGINS = ("opensearch-job-scheduler", "opensearch-knn", "opensearch-ml", "opensearch-neural-search")
NODE = "43f__YrxTVKXLcL1iKRVww"
DEFAULTS: dict[str, Any] = {
    "plugins.ml_commons.only_run_on_ml_node": "true",
    "plugins.ml_commons.allow_registering_model_via_local_file": "false",
    "plugins.ml_commons.allow_registering_model_via_url": "false",
    "plugins.ml_commons.trusted_url_regex": "^(https?|ftp|file)://[-a-zA-Z0-9+&@#/%?=~_|!:,.;]*[-a-zA-Z0-9+&@#/%=~_|]",
    "plugins.ml_commons.native_memory_threshold": "90",
    "plugins.ml_commons.jvm_heap_memory_threshold": "85",
    "plugins.ml_commons.max_model_on_node": "10",
    "plugins.ml_commons.trusted_connector_endpoints_regex": [
        r"^https://runtime\.sagemaker\..*[a-z0-9-]\.amazonaws\.com/.*$",
        r"^https://api\.openai\.com/.*$",
    ],
    "plugins.ml_commons.connector.private_ip_enabled": "false",
    "plugins.ml_commons.remote_inference.enabled": "true",
    "plugins.neural_search.stats_enabled": "false",
    "plugins.neural_search.circuit_breaker.limit": "10%",
    "plugins.neural_search.sparse.algo_param.index_thread_qty": "1",
    "cluster.max_shards_per_node": "1000",
    "cluster.blocks.read_only": "false",
    "cluster.blocks.create_index": "false",
}
OPEN = {
    "plugins.ml_commons.only_run_on_ml_node": "false",
    "plugins.ml_commons.allow_registering_model_via_local_file": "true",
    "plugins.ml_commons.native_memory_threshold": "100",
}
"""The settings the recorded server ran with."""


class State:
    """Every attribute may be changed by a test."""

    def __init__(self, plugins: tuple[str, ...] = ML_PLUGINS, settings: dict[str, str] | None = None) -> None:
        self.plugins = list(plugins)
        self.persistent: dict[str, Any] = dict(OPEN if settings is None else settings)
        self.roles = ["cluster_manager", "data", "ingest", "remote_cluster_client"]
        self.analyzers = {"standard", "english", "cjk", "whitespace"}
        self.password: tuple[str, str] | None = None
        self.authorization: str | None = None
        self.forbidden = ""
        self.auto_create = True
        self.takes_ids = False
        self.takes_roles = False
        """Whether connectors may be signed with a role."""
        self.hosts: dict[str, str] = {}
        """Host of a connector -> the http address of a local server that is called instead."""
        self.memory_percent, self.heap_percent = 50, 40
        self.disk_free, self.breaker_bytes, self.health_status = 9_000_000_000, 300_000_000, "green"
        self.task_seconds = 0.03
        self.settle_seconds = 0.02
        self.fail_deploy: Callable[[str], str | None] = lambda name: None
        self.refuse_deploy = ""
        self.faults: list[Fault] = []
        self.calls: list[Call] = []
        self.headers_seen: list[dict[str, str]] = []
        self.groups: dict[str, dict[str, Any]] = {}
        self.models: dict[str, dict[str, Any]] = {}
        self.chunks: dict[str, dict[int, bytes]] = {}
        self.downloaded: set[str] = set()
        self.tasks: dict[str, dict[str, Any]] = {}
        self.runtimes: dict[str, Runtime | RemoteRuntime] = {}
        self.connectors: dict[str, dict[str, Any]] = {}
        self.called: dict[tuple[str, ...], Any] = {}
        """(remote model, format, text) -> its vector or refusal, of the bulk that is being done."""
        self.asked_models: set[str] = set()
        self.ingest: dict[str, dict[str, Any]] = {}
        self.pipelines: dict[str, dict[str, Any]] = {}
        self.indices: dict[str, Index] = {}
        self.index_templates: dict[str, dict[str, Any]] = {}
        self.legacy: dict[str, dict[str, Any]] = {}
        self.scrolls: dict[str, tuple[int, int, list[dict[str, Any]]]] = {}
        self.merges: list[str] = []
        self.warmed: list[str] = []
        self.threads_at_merge: list[str | None] = []
        self.breaker_full = False
        self.lock = threading.RLock()
        self._later: list[tuple[float, Callable[[], None]]] = []
        self._ids = 0
        self.url = ""

    # what a test asks about

    def state(self) -> dict[str, Any]:
        """What a deploy leaves, without ids: equal states, same result."""
        models = sorted((m["name"], m["model_state"], self._content(m)) for m in self.models.values())
        names = {i: m["name"] for i, m in self.models.items()}
        wired = json.dumps([self.ingest, self.pipelines], sort_keys=True)
        for model_id, name in names.items():
            wired = wired.replace(model_id, name)
        return {
            "groups": sorted(g["name"] for g in self.groups.values()),
            "models": models,
            "pipelines": wired,
            "connectors": sorted(connector["name"] for connector in self.connectors.values()),
            "indices": {n: (i.aliases, i.mappings, i.settings, sorted(i.documents)) for n, i in self.indices.items()},
        }

    def _content(self, model: dict[str, Any]) -> str:
        """Hash of a local model, name of a remote model's connector."""
        if model["algorithm"] == "REMOTE":
            return str(self.connectors.get(model["connector_id"], {}).get("name"))
        return str(model["model_content_hash_value"])

    def restart(self) -> None:
        """The node restarts: models still read DEPLOYED and no longer answer."""
        self.runtimes.clear()

    def _tick(self) -> None:
        now = time.monotonic()
        due, self._later = [x for x in self._later if x[0] <= now], [x for x in self._later if x[0] > now]
        for _, act in due:
            act()

    def _soon(self, seconds: float, act: Callable[[], None]) -> None:
        self._later.append((time.monotonic() + seconds, act))

    def _new_id(self) -> str:
        self._ids += 1
        return f"id{self._ids:04}_aEBr7WC3Jr2"

    def _setting(self, name: str) -> Any:
        key = f"plugins.ml_commons.{name}"
        return self.persistent.get(key, DEFAULTS[key])

    def _model(self, model_id: str) -> dict[str, Any]:
        if model_id not in self.models:
            raise Refused(404, "status_exception", "Failed to find model")
        return self.models[model_id]

    def _running(self, model_id: str) -> Runtime | RemoteRuntime:
        """A remote model that is not deployed is deployed by the call; a local one is not."""
        model = self._model(model_id)
        self.asked_models.add(model_id)
        if model.get("algorithm") == "REMOTE":
            if model_id not in self.runtimes:
                self.deploy_remote(model_id)
            return self.runtimes[model_id]
        if model_id not in self.runtimes:
            reason = "Model not ready yet. Please deploy the model first."
            raise Refused(400, "illegal_argument_exception", reason)
        return self.runtimes[model_id]

    def deploy_remote(self, model_id: str) -> None:
        """Succeeds whatever the address is; the private address switch is read now."""
        private = self._setting("connector.private_ip_enabled") == "true"
        self.runtimes[model_id] = RemoteRuntime(
            lambda: self.connectors[self.models[model_id]["connector_id"]], private, self.hosts
        )
        self.models[model_id]["model_state"] = "DEPLOYED"

    def _indices(self, names: str, expand: str = "open,closed") -> list[Index]:
        """Those that a list of names, aliases and wildcards stands for, each once; a wildcard may stand for none."""
        found: dict[str, Index] = {}
        for name in names.split(","):
            if "*" in name or name == "_all":
                found |= self._matching(name.replace("_all", "*"), expand)
                continue
            one = [i for i in self.indices.values() if name == i.name or name in i.aliases]
            if not one:
                raise no_such_index(name)
            found |= {index.name: index for index in one}
        return list(found.values())

    def _matching(self, pattern: str, expand: str) -> dict[str, Index]:
        return {
            index.name: index
            for index in self.indices.values()
            if index.shown_by(expand) and any(fnmatch(name, pattern) for name in (index.name, *index.aliases))
        }

    def _open(self, names: str) -> list[Index]:
        """Those that documents can be read from and written to; a wildcard leaves closed ones out."""
        found = self._indices(names, expand="open")
        for index in found:
            if index.closed:
                raise index_closed(index.name)
        return found

    def _searchable(self, names: str, asked: str | None = None) -> tuple[list[Index], str | None]:
        """The indices and the search pipeline of a request; it fails if that, or the default, was deleted."""
        found = self._open(names)
        defaults = [i.settings["search.default_pipeline"] for i in found if i.settings.get("search.default_pipeline")]
        pipeline = asked or next(iter(defaults), None)
        if pipeline and pipeline != "_none" and pipeline not in self.pipelines:
            raise Refused(400, "illegal_argument_exception", f"Pipeline {pipeline} is not defined")
        return found, pipeline
