"""Put a deployment right with what the cluster holds: models deployed again, wiring as the index's ``_meta`` says."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.client import Cluster
from osparse.deployer.cluster.index_settings import pipeline_drift, pipelines_of
from osparse.deployer.health.rewiring import PipelineStep, pipeline_steps
from osparse.deployer.health.status import DeploymentStatus, existing_models, served_name, status
from osparse.deployer.index.pipeline_steps import IngestPipeline
from osparse.deployer.mlcommons import failures
from osparse.deployer.mlcommons.api import MLCommons
from osparse.deployer.mlcommons.tasks import await_answer, deploy_once, node_names
from osparse.deployer.plan import Made
from osparse.errors import ClusterError, ClusterUnreachableError
from osparse.opensearch_templates import render

log = logging.getLogger("osparse.deployer.health.heal")


@dataclass(frozen=True)
class Healed:
    """One thing that was put right, or with ``plan_only`` would be, or could not be."""

    index: str
    what: str
    problem: str | None = None
    """Why it could not be."""

    def __str__(self) -> str:
        return f"{self.index}: {self.what}" + (f": {self.problem}" if self.problem else "")


def heal(cluster: Cluster, index: str | None = None, *, plan_only: bool = False) -> list[Healed]:
    """Redeploy models that do not answer (after a restart of the nodes), rebuild pipelines, put the defaults back.

    What is gone altogether (a model, a bundle part) needs ``osparse deploy`` and the bundle.

    Raises:
        ClusterError: ``index`` is given and there is no deployment of that name.
    """
    api, ml = ClusterApi(cluster), MLCommons(cluster)
    done: list[Healed] = []
    seen: set[str] = set()
    for found in status(cluster, index):
        try:
            for healed in _heal_index(api, ml, found, seen, plan_only):
                done.append(healed)  # one by one: what was done before a failure is reported too
        except ClusterUnreachableError:
            raise
        except ClusterError as problem:
            done.append(Healed(found.index, "repair it", str(problem)))
    return done


def _heal_index(
    api: ClusterApi, ml: MLCommons, found: DeploymentStatus, seen: set[str], plan_only: bool
) -> Iterator[Healed]:
    """What is done about one index; ``seen`` takes the ids of the models that are deployed again."""
    rebuilt: set[str] = set()
    for name, healed in _pipelines(api, found, plan_only):
        if healed.problem is None:
            rebuilt.add(name)
        yield healed
    yield from _wiring(api, found, rebuilt, plan_only)
    for model in found.models:
        if not model.answers and model.id not in seen and model.state != "REGISTERING":
            seen.add(model.id)
            yield _redeploy(ml, found.index, model.id, plan_only)


def _redeploy(ml: MLCommons, index: str, model_id: str, plan_only: bool) -> Healed:
    model = ml.get_model(model_id)
    name = model.name if model is not None else model_id
    what = f"deploy model {name} again"
    if plan_only or model is None:
        return Healed(index, what, None if model is not None else "it is gone; run osparse deploy")
    log.info("%s: %s", index, what)
    try:
        if model.remote:  # deployed again, it reads the settings that connectors are called by
            ml.undeploy_model(model.id)
        errors = deploy_once(ml, model)
        if errors:
            return Healed(index, what, failures.failure_text(name, errors, node_names(ml)))
        await_answer(ml, model)
    except ClusterError as problem:
        return Healed(index, what, str(problem))
    return Healed(index, what)


def _pipelines(api: ClusterApi, found: DeploymentStatus, plan_only: bool) -> Iterator[tuple[str, Healed]]:
    """Make those again that are gone or name another model; one that somebody has only changed otherwise is left.

    Yields the name of each and what became of it.
    """
    if not found.broken_pipelines:
        return
    models = existing_models(found.models, found.deployment)
    alias = served_name(found.index, found.deployment, found.aliases)
    steps = pipeline_steps(api, alias or "", found.deployment)
    for step in steps:
        if step.name in found.broken_pipelines:
            yield step.name, _made_again(step, found, models, plan_only)


def _made_again(step: PipelineStep, found: DeploymentStatus, models: Made, plan_only: bool) -> Healed:
    what = f"make pipeline {step.name} again"
    if not {*step.takes} <= {*models.ids}:
        return Healed(found.index, what, "its model is gone; run osparse deploy")
    if isinstance(step, IngestPipeline) and found.deployment.chunks and step.words is None:
        return Healed(found.index, what, "its index does not say how long a piece is; run osparse deploy")
    if not plan_only:
        try:
            step.apply(models)
        except ClusterError as problem:
            return Healed(found.index, what, str(problem))
    return Healed(found.index, what)


def _wiring(api: ClusterApi, found: DeploymentStatus, rebuilt: Collection[str], plan_only: bool) -> list[Healed]:
    """Name its pipelines in its settings again; not while one of them is gone: every search would be refused."""
    drift = pipeline_drift(api, found.index, found.deployment)
    if not drift:
        return []
    what = f"put its default pipelines back ({'; '.join(drift)})"
    unusable = _unusable_pipelines(api, found, rebuilt)
    if unusable:
        return [
            Healed(found.index, what, f"left as they are while there is no working pipeline {' and '.join(unusable)}")
        ]
    if not plan_only:
        api.put_index_settings(found.index, render("index_pipelines", **pipelines_of(found.deployment)))
    return [Healed(found.index, what)]


def _unusable_pipelines(api: ClusterApi, found: DeploymentStatus, rebuilt: Collection[str]) -> list[str]:
    """Of those that its settings are to name: gone or naming another model, and not rebuilt."""
    named = (
        (found.deployment.ingest_pipeline, api.get_ingest_pipeline),
        (found.deployment.search_pipeline, api.get_search_pipeline),
    )
    return [
        name
        for name, read in named
        if name is not None and name not in rebuilt and (name in found.broken_pipelines or read(name) is None)
    ]
