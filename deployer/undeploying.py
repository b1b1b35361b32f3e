"""Remove the old indices of a name, and the models, pipelines and bundle parts that nothing else uses."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from osparse.deployer import names
from osparse.deployer.artifacts import chunk_ids, stored_parts
from osparse.deployer.cluster_api import ClusterApi
from osparse.deployer.connection import Cluster
from osparse.deployer.facts import look
from osparse.deployer.generations import Generation, deployments_of, read_generations
from osparse.deployer.ml_commons import MLCommons, Model
from osparse.deployment import Deployment
from osparse.errors import InputError

log = logging.getLogger("osparse.deployer.undeploying")

WAITS = (0.0, 0.5, 1.0, 2.0, 4.0)
"""Seconds before each try to delete a model: right after an undeploy its chunks may not be cleaned up yet."""


@dataclass(frozen=True)
class UndeployResult:
    """What was removed, or with ``plan_only`` would be."""

    index: str
    in_use: str | None
    kept: list[str]
    removed: list[str]
    """Each in words: index, model, pipeline, parts."""
    applied: bool
    left: list[str] = field(default_factory=list)
    """What could not be removed, and why."""

    def to_json(self) -> dict[str, Any]:
        return {
            "index": self.index, "in_use": self.in_use, "kept": self.kept, "removed": self.removed,
            "applied": self.applied, "left": self.left,
        }  # fmt: skip

    def __str__(self) -> str:
        lines = [
            f"{self.index} is served by {self.in_use or 'no index'}; kept besides: {', '.join(self.kept) or 'none'}"
        ]
        lines += [f"  - remove  {what}" if not self.applied else f"  - removed  {what}" for what in self.removed]
        lines += [f"  ! left  {what}" for what in self.left]
        if not self.removed:
            lines.append("  nothing to remove")
        return "\n".join([*lines, *([] if self.applied else ["nothing was touched"])])


def undeploy(
    cluster: Cluster, index: str, *, keep: int = 1, orphans: bool = False, plan_only: bool = False
) -> UndeployResult:
    """Remove the indices of ``index`` that do not serve, but for the ``keep`` youngest of them; never the one in use.

    Args:
        keep: How many to keep for a rollback; the one before the one in use counts as the youngest. One that is younger
            than the one in use and did not serve before it is kept besides: it was staged; 0 removes that too.
        orphans: Also remove osparse's models and bundle parts that no index of the cluster names. A deploy that is
            under way on another machine looks like that too.
        plan_only: Say what would be removed and touch nothing.

    Raises:
        InputError: ``keep`` is negative, or osparse made no index of that name.
    """
    if keep < 0:
        raise InputError(f"--keep {keep} is negative; give 0 or more")
    api = ClusterApi(cluster)
    found = read_generations(api, index)
    if found.current is None and not found.others and not orphans:
        raise InputError(f"{cluster.url} has no index of the name {index}; osparse status lists what it has")
    waiting = found.waiting if keep else ()  # staged, maybe being filled at this moment
    doomed = found.others[keep:] if keep else (*found.others, *found.waiting)
    kept = (*found.others[:keep], *waiting)
    work = _Removal(api, look(api).missing_plugins == [], plan_only)
    work.run(doomed, orphans)
    return UndeployResult(
        index=index,
        in_use=found.current.index if found.current else None,
        kept=[one.index for one in kept],
        removed=work.removed,
        applied=not plan_only,
        left=work.left,
    )


@dataclass
class _Removal:
    """Models first and indices last: as long as an index is there, the next run knows what belonged to it."""

    api: ClusterApi
    has_models: bool
    plan_only: bool
    removed: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def run(self, doomed: Iterable[Generation], orphans: bool) -> None:
        ends = {one.index: one.deployment for one in doomed}
        made = deployments_of(self.api.all_meta())
        staying = {name: deployment for name, deployment in made.items() if name not in ends}
        used = {deployment.fingerprint for deployment in staying.values()}
        gone = {d.fingerprint: d for d in ends.values() if d.fingerprint not in used}
        unfinished = set[str]()
        for deployment in gone.values():
            before = len(self.left)
            self._models(deployment)
            if len(self.left) > before:
                unfinished.add(deployment.fingerprint)
            self._parts(deployment.fingerprint, f"{deployment.bundle}-{deployment.fingerprint[:12]}")
            self._pipelines(deployment)
        for name, deployment in ends.items():
            if deployment.fingerprint in unfinished:
                self.left.append(f"index {name}: it goes when its models are gone")
                continue
            self._do(f"index {name} ({self.api.count(name):,} documents)", partial(self.api.delete_index, name))
        if orphans:
            self._orphans(used | set(gone))
        self._groups({d.bundle for d in gone.values()} - {d.bundle for d in staying.values()})

    def _do(self, what: str, act: Callable[[], object]) -> None:
        self.removed.append(what)
        if not self.plan_only:
            log.info("removing %s", what)
            act()

    def _models(self, deployment: Deployment) -> None:
        if not self.has_models:
            return
        ml = MLCommons(self.api.cluster)
        for part in ("encoder", "tokenizer"):
            for model in ml.find_models(f"{deployment.bundle}-{deployment.fingerprint[:12]}-{part}"):
                self._model(ml, model)

    def _model(self, ml: MLCommons, model: Model) -> None:
        self._do(f"model {model.name} (id {model.id}, {model.state})", lambda: self._delete_model(ml, model))

    def _delete_model(self, ml: MLCommons, model: Model) -> None:
        ml.undeploy_model(model.id)
        for wait in WAITS:
            time.sleep(wait)
            answer = ml.delete_model(model.id)
            if answer.status in (200, 404):
                return
        self.removed.pop()
        self.left.append(f"model {model.name} (id {model.id}): {answer.reason}; run osparse undeploy again in a minute")

    def _parts(self, fingerprint: str, bundle: str) -> None:
        mine = stored_parts(self.api, fingerprint)
        if not mine:
            return
        shared = self._shared_parts(fingerprint)
        chunks = [
            chunk
            for part in mine.values()
            if part["sha256"] not in shared
            for chunk in chunk_ids(str(part["sha256"]), int(str(part["size"])))
        ]
        self._do(f"bundle parts of {bundle} ({len(chunks)} chunks)", lambda: self._delete_parts(fingerprint, chunks))

    def _delete_parts(self, fingerprint: str, chunks: list[str]) -> None:
        for document in [*chunks, fingerprint]:
            self.api.delete_document(names.BUNDLES_INDEX, document)

    def _shared_parts(self, fingerprint: str) -> set[object]:
        """sha256 of the parts that other bundles list too."""
        return {
            part["sha256"] for other, parts in self._stored().items() if other != fingerprint for part in parts.values()
        }

    def _stored(self) -> dict[str, dict[str, Any]]:
        """Fingerprint -> parts of every stored bundle."""
        if self.api.get_mapping(names.BUNDLES_INDEX) is None:
            return {}
        self.api.refresh(names.BUNDLES_INDEX)
        body = {"size": 10_000, "_source": ["bundle", "parts"], "query": {"term": {"kind": "bundle"}}}
        hits = self.api.search(names.BUNDLES_INDEX, body)["hits"]["hits"]
        return {hit["_id"]: dict(hit["_source"]["parts"]) for hit in hits}

    def _pipelines(self, deployment: Deployment) -> None:
        pattern = names.pipelines_of(deployment.bundle, deployment.fingerprint)
        for name in self.api.ingest_pipelines(pattern):
            self._do(f"ingest pipeline {name}", partial(self.api.delete_ingest_pipeline, name))
        for name in self.api.search_pipelines(pattern):
            self._do(f"search pipeline {name}", partial(self.api.delete_search_pipeline, name))

    def _groups(self, bundles: set[str]) -> None:
        """A group whose last model is just gone cannot be deleted for some minutes: no fault, the next run does it."""
        if not self.has_models or self.plan_only:
            return
        ml = MLCommons(self.api.cluster)
        for bundle in sorted(bundles):
            group = ml.find_group(names.group_of(bundle))
            if group is not None and ml.delete_group(group).status == 200:
                self.removed.append(f"model group {names.group_of(bundle)}")

    def _orphans(self, known: set[str]) -> None:
        short = {fingerprint[:12] for fingerprint in known}
        if self.has_models:
            ml = MLCommons(self.api.cluster)
            for model in ml.all_models():
                made = names.bundle_of_model(model.name)
                ours = made is not None and made[1] not in short
                if made is not None and ours and ml.find_group(names.group_of(made[0])) == model.group_id:
                    self._model(ml, model)
        for fingerprint in self._stored():
            if fingerprint not in known:
                self._parts(fingerprint, fingerprint[:12])
