"""Remove one deployment with the pipelines, models and bundle parts that nothing else uses, so that a rerun resumes it.

The index is detached from its pipelines first, or it could no longer be read once they are gone; it is deleted last,
because its ``_meta`` says what belonged to it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from osparse.contracts.deployment import Deployment
from osparse.deployer import names
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.in_use import PipelineKey, Uses
from osparse.deployer.load.bundle_store import chunk_ids, stored_parts
from osparse.deployer.mlcommons.api import MLCommons, ServerModel
from osparse.deployer.mlcommons.remote_calls import RemoteCalls
from osparse.errors import ClusterError, ClusterUnreachableError
from osparse.opensearch_templates import render

log = logging.getLogger("osparse.deployer.operate.removal")

WAITS = (0.0, 0.5, 1.0, 2.0, 4.0)
"""Seconds before each try to delete a model: right after an undeploy its chunks may not be cleaned up yet."""


@dataclass
class Removal:
    """What is removed, in words, and the one place that removes it; with ``plan_only`` nothing is touched."""

    api: ClusterApi
    has_models: bool
    plan_only: bool
    uses: Uses
    staying: Mapping[str, Deployment]
    """Index -> deployment, of every index of the cluster that is not to be removed, closed and hidden ones too."""
    removed: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    """What could not be removed, and why."""
    notes: list[str] = field(default_factory=list)
    """What stays for a while and does no harm."""

    def deployment(
        self,
        index: str,
        deployment: Deployment,
        own_aliases: Collection[str],
        own_pipelines: Collection[PipelineKey] = (),
    ) -> bool:
        """Remove an index and what only it uses; nothing of it, and False, if somebody else uses any of it.

        Args:
            own_aliases: Those that osparse put on it.
            own_pipelines: To be removed with it besides those of its bundle.
        """
        own = [key for key in own_pipelines if key in self.uses.pipelines]
        bundles = deployment.bundles
        pipelines = [*dict.fromkeys(key for one in bundles for key in self._pipelines(one)), *own]
        models = [model for one in bundles for model in self._models(one)]
        reasons = [*self._strange_aliases(index, own_aliases), *self._users(pipelines, models, index)]
        if reasons:
            self.left.append(f"index {index}, which is in use: {'; '.join(reasons)}")
            return False
        if pipelines and not self.plan_only:
            self.api.put_index_settings(index, render("index_detached"))
        if not self._wiring(pipelines, models):
            self.left.append(f"index {index}: it is deleted once its models are")
            return False
        needed = {view.fingerprint for other in self.staying.values() for view in other.bundles}
        for one in bundles:
            self._connectors(f"{one.bundle}-{one.fingerprint[:12]}", self._parts_to_go(one))
            if one.fingerprint not in needed:
                self.parts(one.fingerprint, f"{one.bundle}-{one.fingerprint[:12]}")
        self._index(index)
        return True

    def baseline(self, index: str) -> None:
        """Remove an index that only an evaluation compares with, unless an alias stands on it."""
        reasons = self._strange_aliases(index, ())
        if reasons:
            self.left.append(f"index {index}, which is in use: {'; '.join(reasons)}")
        else:
            self._index(index)

    def bundles_index(self, gone: Collection[str]) -> None:
        """Remove the index of bundle parts if it holds no others than those of the removed fingerprints."""
        if self.api.get_mapping(names.BUNDLES_INDEX) is None or stored_bundles(self.api).keys() - {*gone}:
            return
        if self.plan_only or not self.api.count(names.BUNDLES_INDEX):
            self._do(f"index {names.BUNDLES_INDEX}", partial(self.api.delete_index, names.BUNDLES_INDEX))

    def _index(self, index: str) -> None:
        self._do(f"index {index} ({self._size(index)})", partial(self.api.delete_index, index))

    def _size(self, index: str) -> str:
        """An index whose shards are lost can be deleted all the same."""
        try:
            documents = self.api.count_unless_closed(index)
        except ClusterUnreachableError:
            raise
        except ClusterError as problem:
            log.info("the documents of %s cannot be counted: %s", index, problem)
            return "unreadable"
        return "closed" if documents is None else f"{documents:,} documents"

    def bundle(self, bundle: str, pipelines: Collection[PipelineKey], models: Collection[ServerModel]) -> None:
        """Remove the pipelines, models and connectors of a bundle; none of them if somebody else uses one.

        Args:
            bundle: Its name and the first twelve digits of its fingerprint.
        """
        reasons = self._users(pipelines, models)
        if reasons:
            self.left.append(f"bundle {bundle}, which is in use: {'; '.join(reasons)}")
        elif self._wiring(pipelines, models) and self.has_models:
            self._connectors(bundle, names.MODEL_PARTS)

    def _wiring(self, pipelines: Iterable[PipelineKey], models: Iterable[ServerModel]) -> bool:
        """Pipelines first: a server may refuse to delete a model that a pipeline names. False if a model is left."""
        for kind, name in pipelines:
            delete = self.api.delete_ingest_pipeline if kind == "ingest" else self.api.delete_search_pipeline
            self._do(f"{kind} pipeline {name}", partial(delete, name))
        return all([self._model(model) for model in models])

    def _strange_aliases(self, index: str, own: Collection[str]) -> list[str]:
        return [
            f"the alias {alias} stands on it (take it off, or move it with the next switch by `carry_aliases=True`)"
            for alias in self.api.aliases(index)
            if alias not in own
        ]

    def _users(
        self, pipelines: Collection[PipelineKey], models: Iterable[ServerModel], index: str | None = None
    ) -> list[str]:
        """What else on the cluster names one of them, in words; ``index`` and the pipelines themselves do not count."""
        reasons = []
        for _, name in pipelines:
            users = self.uses.of_pipeline(name, index, pipelines)
            reasons += [f"{user} names its pipeline {name}" for user in users]
        for model in models:
            users = self.uses.of_model(model.id, index, pipelines)
            reasons += [f"{user} names its model {model.name} (id {model.id})" for user in users]
        return reasons

    def _pipelines(self, deployment: Deployment) -> list[PipelineKey]:
        """Those of its bundle; while another index serves that bundle, those that this deployment alone names."""
        sharing = self._sharing(deployment)
        if not sharing:
            prefix = names.pipelines_of(deployment.bundle, deployment.fingerprint)
            return [key for key in self.uses.pipelines if key[1].startswith(prefix)]
        named = {key for other in sharing for key in _named_pipelines(other)}
        return [key for key in _named_pipelines(deployment) if key in self.uses.pipelines and key not in named]

    def _models(self, deployment: Deployment) -> list[ServerModel]:
        ml, prefix = MLCommons(self.api.cluster), f"{deployment.bundle}-{deployment.fingerprint[:12]}"
        parts = [part + trial for part in self._parts_to_go(deployment) for trial in ("", "-trial")]
        return [model for part in parts for model in ml.find_models(f"{prefix}-{part}")]

    def _parts_to_go(self, deployment: Deployment) -> list[str]:
        """The models of its bundle, by what their names end with, that no deployment which stays needs."""
        if not self.has_models:
            return []
        sharing = self._sharing(deployment)
        needed = {part for other in sharing for part in (other.encoder_part, "tokenizer")}
        parts = [part for part in names.MODEL_PARTS if part not in needed]
        if sharing:  # a model of another part may be what a deploy under way is making
            return [part for part in parts if part == deployment.encoder_part]
        return parts

    def _sharing(self, deployment: Deployment) -> list[Deployment]:
        """The deployments that stay and use the same models: those carry the bundle's name and its fingerprint."""
        same = (deployment.bundle, deployment.fingerprint)
        others = [view for other in self.staying.values() if other.mode != "client" for view in other.bundles]
        return [other for other in others if (other.bundle, other.fingerprint) == same]

    def _do(self, what: str, act: Callable[[], object]) -> None:
        self.removed.append(what)
        if not self.plan_only:
            log.info("removing %s", what)
            act()

    def _model(self, model: ServerModel) -> bool:
        """Undeploy and delete a model; False if the server does not delete it yet."""
        what = f"model {model.name} (id {model.id}, {model.state})"
        refused = "" if self.plan_only else self._delete_model(model)
        if refused:
            self.left.append(f"model {model.name} (id {model.id}): {refused}; run osparse undeploy again in a minute")
        else:
            self.removed.append(what)
        return not refused

    def _connectors(self, bundle: str, parts: Iterable[str]) -> None:
        """Remove those of the remote models that are gone: the server refuses while a model uses one.

        Args:
            bundle: Its name and the first twelve digits of its fingerprint.
        """
        remote = [part for part in parts if part.startswith("remote")]
        calls = RemoteCalls(self.api.cluster)
        for connector in calls.find_connectors(f"osparse-{bundle}-") if remote else ():
            if not connector.name.startswith(tuple(f"osparse-{bundle}-{part}." for part in remote)):
                continue
            answer = None if self.plan_only else calls.delete_connector(connector.id)
            if answer is None or answer.status in (200, 404):
                self.removed.append(f"connector {connector.name} (id {connector.id})")
            else:
                self.left.append(f"connector {connector.name} (id {connector.id}): {answer.reason}")

    def _delete_model(self, model: ServerModel) -> str:
        """The server's reason for not deleting it; empty if it is gone."""
        log.info("removing model %s (id %s)", model.name, model.id)
        ml = MLCommons(self.api.cluster)
        ml.undeploy_model(model.id)
        for wait in WAITS:
            time.sleep(wait)
            answer = ml.delete_model(model.id)
            if answer.status in (200, 404):
                return ""
        return answer.reason

    def parts(self, fingerprint: str, bundle: str) -> None:
        """Remove the stored parts of a bundle, but for those that other bundles list too."""
        own = stored_parts(self.api, fingerprint)
        if not own:
            return
        others = [parts for other, parts in stored_bundles(self.api).items() if other != fingerprint]
        shared = {part["sha256"] for record in others for part in record["parts"].values()}
        chunks = [
            chunk
            for part in own.values()
            if part["sha256"] not in shared
            for chunk in chunk_ids(str(part["sha256"]), int(str(part["size"])))
        ]
        self._do(f"bundle parts of {bundle} ({len(chunks)} chunks)", lambda: self._delete_parts(fingerprint, chunks))

    def _delete_parts(self, fingerprint: str, chunks: list[str]) -> None:
        for document in [*chunks, fingerprint]:
            self.api.delete_document(names.BUNDLES_INDEX, document)


def _named_pipelines(deployment: Deployment) -> list[PipelineKey]:
    """What the settings of its index name."""
    named = ("ingest", deployment.ingest_pipeline), ("search", deployment.search_pipeline)
    return [(kind, name) for kind, name in named if name is not None]


def stored_bundles(api: ClusterApi) -> dict[str, dict[str, Any]]:
    """Fingerprint -> ``bundle`` (its name) and ``parts``, of every bundle that the cluster stores."""
    if api.get_mapping(names.BUNDLES_INDEX) is None:
        return {}
    api.refresh(names.BUNDLES_INDEX)
    hits = api.search(names.BUNDLES_INDEX, render("bundle_records_find"), whole=True)["hits"]["hits"]
    return {hit["_id"]: dict(hit["_source"]) for hit in hits}
