"""What a cluster serves: every deployment, its models and documents, and whether it is ready, all read back from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from osparse.contracts.bundle import Bundle
from osparse.contracts.deployment import Deployment
from osparse.deployer import names
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.client import Cluster
from osparse.deployer.cluster.index_settings import pipeline_drift
from osparse.deployer.health.document_check import document_problems
from osparse.deployer.health.standing import examine_standing
from osparse.deployer.index.generations import SUFFIX, deployments_of
from osparse.deployer.load.bundle_store import chunk_ids, stored_parts
from osparse.deployer.mlcommons.api import MLCommons
from osparse.deployer.mlcommons.failures import remedy
from osparse.deployer.mlcommons.tasks import answers, first_answer
from osparse.deployer.names import BUNDLES_INDEX
from osparse.deployer.plan import ENCODER, TOKENIZER, Made, id_key
from osparse.deployer.segments.seismic import SeismicStatus, read_seismic
from osparse.errors import AccessError, ClusterBusyError, ClusterError, ClusterUnreachableError, OsparseError


@dataclass(frozen=True)
class ModelStatus:
    name: str
    id: str
    state: str
    """As the server says: REGISTERING, REGISTERED, DEPLOYING, DEPLOYED, DEPLOY_FAILED, UNDEPLOYED, ..."""
    answers: bool
    """Whether a predict works; after a restart a model can be DEPLOYED and still not answer."""
    nodes: dict[str, str] = field(default_factory=dict)
    """Node name -> the model's state there."""
    memory: int = 0
    """Bytes it is estimated to take on one node."""

    def __str__(self) -> str:
        where = ", ".join(f"{node} {state}" for node, state in sorted(self.nodes.items()))
        size = f", {self.memory / 1e6:.0f} MB a node" if self.memory else ""
        silent = "" if self.answers else ", does not answer"
        return f"model {self.name} {self.state}{silent}" + (f" (on {where}{size})" if where else "")


@dataclass(frozen=True)
class DeploymentStatus:
    """One index osparse made."""

    index: str
    aliases: list[str]
    deployment: Deployment
    documents: int
    """0 while it is closed."""
    closed: bool = False
    size: int = 0
    """Bytes of its primary shards."""
    models: list[ModelStatus] = field(default_factory=list)
    broken_pipelines: list[str] = field(default_factory=list)
    """Names of those that are gone or name another model."""
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What is worth knowing and no fault."""
    seismic: SeismicStatus | None = None
    """Of a ``sparse_vector`` field that is open."""

    @property
    def ready(self) -> bool:
        return not self.problems

    @property
    def _content(self) -> str:
        return "closed" if self.closed else f"{self.documents:,} documents, {self.size / 1e6:.1f} MB"

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "ready": self.ready}

    def __str__(self) -> str:
        d = self.deployment
        lines = [
            f"{', '.join(self.aliases) or '(no alias)'} -> {self.index}: {'ready' if self.ready else 'NOT READY'}",
            f"  bundle {d.bundle}, fingerprint {d.fingerprint[:12]}, idf {d.idf_version}, mode {d.mode}"
            f"{f' (encoder at {d.encoder_url})' if d.encoder_url else ''}, "
            f"{d.vector}{_long_texts(d)}{_pruning(d)}, {d.key_style} feature names, {self._content}",
            *(f"  {_field_line(view)}" for view in (d.views if d.fields else ())),
            *(f"  {model}" for model in self.models),
            *([f"  {self.seismic}"] if self.seismic is not None else []),
            *(f"  note: {note}" for note in self.notes),
            *(f"  problem: {problem}" for problem in self.problems),
        ]
        return "\n".join(lines)


def _long_texts(deployment: Deployment) -> str:
    """What becomes of a text that is longer than the encoder reads, where it is not cut."""
    if deployment.chunks:
        return " in pieces"
    return "" if deployment.window_weight is None else f", long texts in windows ({deployment.window_weight:g})"


def _pruning(deployment: Deployment) -> str:
    """Which weights of a document are left out, if any are."""
    kind, _, value = (deployment.prune or "").partition(" ")
    if kind == "top_k":
        return f", at most {value} weights of a text"
    return f", without weights below {value} of a text's largest" if kind else ""


def _field_line(view: Deployment) -> str:
    source = "text" if view.text_template is None else view.text_template
    asked = f"boost {view.boost:g}" if view.boost else "searched where it is named"
    return f"sparse field {view.field} from {source!r} by {view.bundle} {view.fingerprint[:12]}, {asked}"


def status(cluster: Cluster, index: str | None = None) -> list[DeploymentStatus]:
    """Every deployment of the cluster, or those under one index name or alias.

    Raises:
        ClusterError: ``index`` is given and there is no deployment of that name, or none that this version reads.
    """
    api = ClusterApi(cluster)
    if index is None:
        meta = api.all_meta()
    else:
        mappings = api.get_mapping(index) or {}
        meta = {name: body.get("mappings", {}).get("_meta") for name, body in mappings.items()}
    unreadable = dict[str, str]()
    deployments = [_one(api, name, deployment) for name, deployment in deployments_of(meta, unreadable).items()]
    if index is not None and not deployments:
        if unreadable:
            raise ClusterError("; ".join(unreadable.values()))
        there = {alias for name in deployments_of(api.all_meta(), {}) for alias in api.aliases(name)}
        raise ClusterError(f"{cluster.url} has no deployment {index}; it has: {', '.join(sorted(there)) or 'none'}")
    return deployments


def drift_from(found: list[DeploymentStatus], bundle: Bundle) -> list[str]:
    """Where what serves is not this bundle: one sentence per served name; the previous ones do not count."""
    return [
        f"{alias} serves bundle {one.deployment.bundle}, fingerprint {one.deployment.fingerprint[:12]}; this bundle is "
        f"{bundle.name}, fingerprint {bundle.short}: bring it there with osparse deploy {bundle.path} --index {alias}"
        for one in found
        for alias in one.aliases
        if not alias.endswith(SUFFIX) and one.deployment.fingerprint != bundle.fingerprint
    ]


def _one(api: ClusterApi, name: str, deployment: Deployment) -> DeploymentStatus:
    """What is wrong with one index is a line of its own and does not end the survey of the others."""
    try:
        return _examined(api, name, deployment)
    except (ClusterUnreachableError, AccessError, ClusterBusyError):
        raise
    except OsparseError as problem:
        return DeploymentStatus(name, [], deployment, 0, problems=[f"it could not be examined: {problem}"])


def _examined(api: ClusterApi, name: str, deployment: Deployment) -> DeploymentStatus:
    aliases, documents = api.aliases(name), api.count_unless_closed(name)
    problems, notes = examine_standing(api, name, deployment, aliases, documents)
    models: list[ModelStatus] = []
    if deployment.mode != "client":
        for view in deployment.bundles:
            of_bundle, wrong = _models(MLCommons(api.cluster), api, view)
            models += of_bundle
            problems += wrong
    broken = _broken_pipelines(api, deployment, served_name(name, deployment, aliases), models)
    problems += broken.values()
    problems += dict.fromkeys(problem for view in deployment.bundles for problem in _parts(api, view))
    problems += [f"{drift}; run osparse status --heal" for drift in pipeline_drift(api, name, deployment)]
    if documents is None:
        problems.insert(0, f"the index is closed and answers nothing; {api.opening_advice(name)}")
    else:
        problems += document_problems(api, name, deployment)
    approximate = documents is not None and deployment.vector == "sparse_vector"
    return DeploymentStatus(
        index=name,
        aliases=aliases,
        deployment=deployment,
        documents=documents or 0,
        closed=documents is None,
        size=0 if documents is None else api.store_size(name),
        models=models,
        broken_pipelines=[*broken],
        problems=problems,
        notes=notes,
        seismic=read_seismic(api, name, deployment.field) if approximate else None,
    )


def _models(ml: MLCommons, api: ClusterApi, deployment: Deployment) -> tuple[list[ModelStatus], list[str]]:
    prefix = f"{deployment.bundle}-{deployment.fingerprint[:12]}"
    models: list[ModelStatus] = []
    problems = []
    profiles, nodes = ml.profiles(), {key: str(node.get("name")) for key, node in api.nodes().items()}
    for part in (deployment.encoder_part, "tokenizer"):
        name = f"{prefix}-{part}"
        there = ml.find_models(name)
        if not there:
            problems.append(f"model {name} is gone; run osparse deploy again")
        for model in there:
            answer = first_answer(ml, model)
            mine = {nodes.get(node, node): found[model.id] for node, found in profiles.items() if model.id in found}
            memory = max((int(row.get("memory_size_estimation_cpu", 0)) for row in mine.values()), default=0)
            states = {node: str(row.get("model_state", "?")) for node, row in mine.items()}
            models.append(ModelStatus(name, model.id, model.state, answers(answer), states, memory))
            if not answers(answer):
                what = remedy(answer.reason) or "run osparse status --heal"
                problems.append(f"model {name} is {model.state} and does not answer ({answer.reason}); {what}")
    return models, problems


def existing_models(models: Sequence[ModelStatus], deployment: Deployment) -> Made:
    """Ids of the encoders and tokenizers: the first of each that answers, or the first; none of one that is gone."""
    best = sorted(reversed(models), key=lambda model: model.answers)  # the last of a part counts
    return Made({_id_key(model.name, deployment): model.id for model in best})


def _id_key(name: str, deployment: Deployment) -> str:
    made = names.bundle_of_model(name)
    own = made in (None, (deployment.bundle, deployment.fingerprint[:12]))
    return id_key(TOKENIZER if name.endswith("-tokenizer") else ENCODER, None if own or made is None else made[1])


def served_name(index: str, deployment: Deployment, aliases: Sequence[str]) -> str | None:
    """The name that an index serves under; None if its alias stands elsewhere."""
    base = index.removesuffix(f"-{deployment.fingerprint[:12]}")
    return base if base in aliases else None


def _broken_pipelines(
    api: ClusterApi, deployment: Deployment, alias: str | None, models: Sequence[ModelStatus]
) -> dict[str, str]:
    """Name -> problem, of pipelines that are gone, or that name a model which is not this fingerprint's."""
    fusing = names.fusing_pipeline(alias) if alias and deployment.hybrid != "none" else None
    broken = {}
    for kind, name, part, body in (
        ("ingest", deployment.ingest_pipeline, deployment.encoder_part, api.get_ingest_pipeline),
        ("search", deployment.search_pipeline, "tokenizer", api.get_search_pipeline),
        ("search", fusing, "tokenizer", api.get_search_pipeline),
    ):
        if name is None:
            continue
        there = body(name)
        named, ids = set(_model_ids(there)), {model.id for model in models if model.name.endswith(f"-{part}")}
        if there is None:
            broken[name] = f"{kind} pipeline {name} is gone; run osparse status --heal"
        elif named and ids and not named <= ids:
            broken[name] = f"{kind} pipeline {name} names another model than its {part}; run osparse status --heal"
    return broken


def _model_ids(node: object) -> Iterator[str]:
    """The values of every ``model_id`` and ``neural_field_default_id`` of a pipeline."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key == "model_id" and isinstance(value, str):
                yield value
            elif key == "neural_field_default_id" and isinstance(value, Mapping):
                yield from (str(one) for one in value.values())
            else:
                yield from _model_ids(value)
    elif isinstance(node, list):
        for one in node:
            yield from _model_ids(one)


def _parts(api: ClusterApi, deployment: Deployment) -> list[str]:
    """Queries are encoded away from the cluster in either mode, documents in client mode only."""
    listed = stored_parts(api, deployment.fingerprint)
    problems = []
    for part in ("tokenizer",) if deployment.mode != "client" else ("tokenizer", "onnx"):
        if part not in listed:
            problems.append(f"the {part} part is not in {BUNDLES_INDEX}; run osparse deploy again")
            continue
        ids = chunk_ids(str(listed[part]["sha256"]), int(str(listed[part]["size"])))
        if len(api.present(BUNDLES_INDEX, ids)) < len(ids):
            problems.append(f"the {part} part in {BUNDLES_INDEX} is not whole; run osparse deploy again")
    return problems
