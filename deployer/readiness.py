"""What a cluster serves: every deployment, its models and documents, and whether it is ready, all read back from it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from osparse.deployer.artifacts import chunk_ids, stored_parts
from osparse.deployer.cluster_api import ClusterApi
from osparse.deployer.connection import Cluster
from osparse.deployer.generations import deployments_of
from osparse.deployer.ml_commons import MLCommons
from osparse.deployer.ml_failures import remedy
from osparse.deployer.names import BUNDLES_INDEX
from osparse.deployer.serving_index import pipeline_drift
from osparse.deployment import Deployment
from osparse.errors import ClusterError


@dataclass(frozen=True)
class ModelStatus:
    name: str
    id: str
    state: str
    """As the server says: REGISTERING, REGISTERED, DEPLOYING, DEPLOYED, DEPLOY_FAILED, UNDEPLOYED, ..."""
    answers: bool
    """Whether a predict works; after a restart a model can be DEPLOYED and still not answer."""


@dataclass(frozen=True)
class DeploymentStatus:
    """One index osparse made."""

    index: str
    aliases: list[str]
    deployment: Deployment
    documents: int
    models: list[ModelStatus] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def ready(self) -> bool:
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "ready": self.ready}

    def __str__(self) -> str:
        d = self.deployment
        lines = [
            f"{', '.join(self.aliases) or '(no alias)'} -> {self.index}: {'ready' if self.ready else 'NOT READY'}",
            f"  bundle {d.bundle}, fingerprint {d.fingerprint[:12]}, idf {d.idf_version}, mode {d.mode}, "
            f"{d.key_style} feature names, {self.documents:,} documents",
            *(f"  model {m.name} {m.state}{'' if m.answers else ', does not answer'}" for m in self.models),
            *(f"  problem: {problem}" for problem in self.problems),
        ]
        return "\n".join(lines)


def status(cluster: Cluster, index: str | None = None) -> list[DeploymentStatus]:
    """Every deployment of the cluster, or those under one index name or alias.

    Raises:
        ClusterError: ``index`` is given and there is no deployment of that name.
    """
    api = ClusterApi(cluster)
    if index is None:
        meta = api.all_meta()
    else:
        mappings = api.get_mapping(index) or {}
        meta = {name: body.get("mappings", {}).get("_meta") for name, body in mappings.items()}
    found = [_one(api, name, deployment) for name, deployment in deployments_of(meta).items()]
    if index is not None and not found:
        there = {alias for name in deployments_of(api.all_meta()) for alias in api.aliases(name)}
        raise ClusterError(f"{cluster.url} has no deployment {index}; it has: {', '.join(sorted(there)) or 'none'}")
    return found


def _one(api: ClusterApi, name: str, deployment: Deployment) -> DeploymentStatus:
    aliases = api.aliases(name)
    problems = [] if aliases else ["no alias points to the index; run osparse deploy again"]
    models: list[ModelStatus] = []
    if deployment.mode == "ml-commons":
        models, wrong = _models(MLCommons(api.cluster), api, deployment)
        problems += wrong
    problems += _parts(api, deployment)
    problems += [f"{drift}; run osparse deploy again" for drift in pipeline_drift(api, name, deployment)]
    return DeploymentStatus(name, aliases, deployment, api.count(name), models, problems)


def _models(ml: MLCommons, api: ClusterApi, deployment: Deployment) -> tuple[list[ModelStatus], list[str]]:
    prefix = f"{deployment.bundle}-{deployment.fingerprint[:12]}"
    models, problems = [], []
    for part in ("encoder", "tokenizer"):
        name = f"{prefix}-{part}"
        there = ml.find_models(name)
        if not there:
            problems.append(f"model {name} is gone; run osparse deploy again")
        for model in there:
            answer = ml.try_predict(model.id, ["osparse"])
            models.append(ModelStatus(name, model.id, model.state, answer.status == 200))
            if answer.status != 200:
                what = remedy(answer.reason) or "run osparse deploy again"
                problems.append(f"model {name} is {model.state} and does not answer ({answer.reason}); {what}")
    if deployment.ingest_pipeline and api.get_ingest_pipeline(deployment.ingest_pipeline) is None:
        problems.append(f"ingest pipeline {deployment.ingest_pipeline} is gone; run osparse deploy again")
    if deployment.search_pipeline and api.get_search_pipeline(deployment.search_pipeline) is None:
        problems.append(f"search pipeline {deployment.search_pipeline} is gone; run osparse deploy again")
    return models, problems


def _parts(api: ClusterApi, deployment: Deployment) -> list[str]:
    """Queries are encoded away from the cluster in either mode, documents in client mode only."""
    listed = stored_parts(api, deployment.fingerprint)
    problems = []
    for part in ("tokenizer",) if deployment.mode == "ml-commons" else ("tokenizer", "onnx"):
        if part not in listed:
            problems.append(f"the {part} part is not in {BUNDLES_INDEX}; run osparse deploy again")
            continue
        ids = chunk_ids(str(listed[part]["sha256"]), int(str(listed[part]["size"])))
        if len(api.present(BUNDLES_INDEX, ids)) < len(ids):
            problems.append(f"the {part} part in {BUNDLES_INDEX} is not whole; run osparse deploy again")
    return problems
