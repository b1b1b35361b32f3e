"""The cluster settings ML Commons needs for models uploaded from a file, and the exact call that sets them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.facts import Facts
from osparse.deployer.mlcommons.api import MLCommons
from osparse.deployer.mlcommons.model_steps import ModelCopies
from osparse.deployer.plan import Finding, Made
from osparse.errors import ClusterError, InputError
from osparse.opensearch_templates import render

ONLY_ML_NODES = "plugins.ml_commons.only_run_on_ml_node"
LOCAL_FILES = "plugins.ml_commons.allow_registering_model_via_local_file"
URLS = "plugins.ml_commons.allow_registering_model_via_url"
TRUSTED_URLS = "plugins.ml_commons.trusted_url_regex"
NATIVE_MEMORY = "plugins.ml_commons.native_memory_threshold"
MAX_MODELS = "plugins.ml_commons.max_model_on_node"
REMOTE = "RemoteModel"
"""In the predictor's name of a model that runs elsewhere; the limit does not count it."""


@dataclass(frozen=True)
class MLSettings:
    """Step: the settings let a model be uploaded from a file and run on the nodes there are."""

    api: ClusterApi
    facts: Facts
    models: Sequence[ModelCopies]
    """What the settings are for: models that are served already need none of them."""
    allow: bool
    via_url: str | None = None
    takes = ()

    def inspect(self, made: Made) -> Finding:
        needed = self._needed()
        if not needed:
            return Finding("keep", "cluster settings", "models can be uploaded and run")
        if all(model.answers for model in self.models):
            return Finding("keep", "cluster settings", "the models are served already")
        reasons = "; ".join(why for _, why in needed.values())
        reasons += "" if self.allow else "; pass `allow_settings=True` to let osparse change them"
        changes = ", ".join(f"{name}={json.dumps(value)}" for name, (value, _) in needed.items())
        return Finding("change", f"cluster settings {changes}", reasons)

    def apply(self, made: Made) -> Made:
        """Raises :class:`ClusterError` with the call to make when the settings may not be changed."""
        needed = self._needed()
        if not self.allow:
            raise ClusterError(
                f"ML Commons on {self.api.cluster.url} cannot take these models: "
                f"{'; '.join(why for _, why in needed.values())}. Deploy with `allow_settings=True`, or make this "
                f"call:\n{settings_call(needed)}"
            )
        self.api.put_settings(_body(needed))
        return Made()

    def _needed(self) -> Needed:
        return {**needed_settings(self.api, self.facts, self.via_url), **needed_slots(self.api, self.models)}


Needed = dict[str, tuple[Any, str]]
"""Setting -> (the value it needs, why)."""


def needed_settings(api: ClusterApi, facts: Facts, via_url: str | None = None) -> Needed:
    """What must change; an unset setting counts with the server's default.

    Raises:
        InputError: the cluster does not trust ``via_url``; which addresses it trusts is its owner's choice.
    """
    current = api.settings()
    needed: Needed = {}
    if current.get(ONLY_ML_NODES, "true") == "true" and not facts.ml_nodes:
        needed[ONLY_ML_NODES] = (False, "models may only run on ML nodes and the cluster has none")
    if via_url is None and current.get(LOCAL_FILES, "false") != "true":
        needed[LOCAL_FILES] = (True, "models may not be uploaded from a file")
    if via_url is not None:
        _check_trusted(current.get(TRUSTED_URLS), via_url)
        if current.get(URLS, "false") != "true":
            needed[URLS] = (True, "models may not be fetched from an address")
    threshold = int(float(current.get(NATIVE_MEMORY, "90")))
    full = _fullest(api)
    if threshold < 100 and full is not None and full[1] > threshold:
        needed[NATIVE_MEMORY] = (
            100,
            f"node {full[0]} uses {full[1]} % of its memory (file cache included) and models are refused "
            f"above {threshold} %",
        )
    return needed


def needed_slots(api: ClusterApi, models: Sequence[ModelCopies]) -> Needed:
    """The limit of models on a node, where these would pass it: the server says so only after all of the upload."""
    most = int(float(api.settings().get(MAX_MODELS, "10")))
    running = {node: local_models(profile) for node, profile in MLCommons(api.cluster).profiles().items()}
    if all(len(running_ids) + len(models) <= most for running_ids in running.values()):
        return {}
    ids = {model.best.id if model.best is not None else model.name for model in models}
    counts = {node: len(running_ids | ids) for node, running_ids in running.items()}
    node, count = max(counts.items(), key=lambda pair: pair[1])
    if count <= most:
        return {}
    name = api.nodes().get(node, {}).get("name", node)
    return {
        MAX_MODELS: (
            count,
            f"node {name} runs {len(running[node])} models, at most {most} may run there, and this bundle brings "
            f"{count - len(running[node])} more (osparse undeploy removes old ones; or the limit is raised, which "
            "takes memory)",
        )
    }


def local_models(profile: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Ids of the models of one node that count for its limit."""
    return {model for model, row in profile.items() if REMOTE not in str(row.get("predictor", ""))}


def _check_trusted(pattern: str | None, url: str) -> None:
    try:
        trusted = pattern is None or re.fullmatch(pattern, url) is not None or re.match(pattern, url) is not None
    except re.error:
        return  # Java's expressions are not all Python's: the server will say
    if not trusted:
        raise InputError(
            f"the cluster does not trust {url}: its {TRUSTED_URLS} is {pattern!r}; have that setting changed, or "
            "deploy without `via_url`"
        )


def settings_problems(api: ClusterApi, facts: Facts) -> list[str]:
    """For :func:`osparse.deployer.doctor`: what is wrong, each with the call that corrects it."""
    needed = needed_settings(api, facts)
    return [f"{why}; {settings_call({name: (value, why)})}" for name, (value, why) in needed.items()]


def settings_call(needed: Needed) -> str:
    """The call as Dev Tools takes it."""
    return f"PUT /_cluster/settings\n{json.dumps(_body(needed))}"


def _body(needed: Needed) -> dict[str, Any]:
    return dict(render("cluster_settings_ml", settings={name: value for name, (value, _) in needed.items()}))


def _fullest(api: ClusterApi) -> tuple[str, int] | None:
    """The node with the least free memory, and its percentage in use."""
    used = [
        (str(node.get("name")), int(node["os"]["mem"]["used_percent"]))
        for node in api.node_memory().values()
        if "used_percent" in node.get("os", {}).get("mem", {})
    ]
    return max(used, key=lambda pair: pair[1], default=None)
