"""Deploy a bundle: survey the cluster, plan, apply. Running it again changes nothing; an interrupted run resumes.

A bundle deployed under a name that another one serves is put beside it, filled, and takes over once the gate holds.

Read on in the order of the steps: settings and models (``mlcommons/settings_step``, ``mlcommons/model_steps``), bundle
parts (``load/bundle_store``), pipelines (``index/pipeline_steps``), the index (``index/index_step``), and where another
bundle serves, its documents and the alias (``index/alias_switch``). An index that osparse did not make is taken over by
``adopt``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from osparse.contracts.bundle import Bundle
from osparse.contracts.shards import ShardSet
from osparse.deployer import names
from osparse.deployer.adopt.source_index import Adoption
from osparse.deployer.adopt.survey import adoption_steps
from osparse.deployer.cluster.client import Cluster
from osparse.deployer.cluster.facts import AskedMode
from osparse.deployer.index.alias_switch import CopiedDocuments, Switch
from osparse.deployer.index.copy import VectorOrigin
from osparse.deployer.index.gate import GateChecks
from osparse.deployer.index.index_step import ServingIndex
from osparse.deployer.index.layout import Serving
from osparse.deployer.index.pipeline_steps import FusingPipeline, IngestPipeline, SearchPipeline
from osparse.deployer.index.seismic_threads import SeismicThreads
from osparse.deployer.load.bundle_store import StoreParts, part_file
from osparse.deployer.mlcommons.api import MLCommons
from osparse.deployer.mlcommons.group_step import ModelGroup
from osparse.deployer.mlcommons.model_steps import ModelCopies, ServedModel, find_copies
from osparse.deployer.mlcommons.settings_step import MLSettings
from osparse.deployer.operate.deploy_options import ModelOptions, Upgrade
from osparse.deployer.operate.deploy_result import DeployResult
from osparse.deployer.operate.other_bundles import client_steps, copies_of, model_steps, seen_part, served_models
from osparse.deployer.operate.snippets import snippets
from osparse.deployer.operate.survey import Survey, read_survey
from osparse.deployer.plan import DeployPlan, Made, Step, apply_all, inspect_all
from osparse.deployer.preflight.checks import Preflight
from osparse.deployer.preflight.preflight import Intent, preflight
from osparse.deployer.remote.encoder_step import RemoteEncoder
from osparse.deployer.remote.options import wanted_connector
from osparse.deployer.remote.trust_step import TrustedEndpoint
from osparse.deployer.shards.lookup import VectorLookup
from osparse.encoders.windows import long_texts
from osparse.errors import AccessError, InputError
from osparse.io.file_folders import open_folder

log = logging.getLogger("osparse.deployer.operate.deploy")


def deploy(
    bundle: Bundle,
    cluster: Cluster,
    index: str,
    *,
    mode: AskedMode = "auto",
    plan_only: bool = False,
    serving: Serving | Mapping[str, Any] | None = None,
    models: ModelOptions | None = None,
    upgrade: Upgrade | None = None,
    mapping: Path | None = None,
    adoption: Adoption | None = None,
    sparse_fields: Sequence[str] | None = None,
) -> DeployResult:
    """Serve ``bundle`` on ``cluster`` under the alias ``index``.

    Where another bundle serves under that name, the new index is made beside the old one, the old one's documents are
    copied and encoded again, the gate is passed, and the alias moves in one call; the old index stays for a rollback.

    Args:
        mode: "auto" decides by the cluster's plugins; "ml-commons" and "client" insist; "remote" lets the cluster call
            an encoder beside it (``osparse serve``) at ``models.encoder_url``.
        plan_only: Say what would be created, changed or kept, and touch nothing.
        serving: Field type, chunks, search pipelines, pruning: all of them as a :class:`Serving`, or some by name; the
            others, or without this argument all of them, stay as in the index that serves.
        mapping: A JSON file with settings, mappings and aliases that the index should have too; without it an index
            that replaces another one takes over what that has.
        adoption: An index that osparse did not make, or one on another cluster: the new index gets its settings and
            mappings, its documents are copied and encoded while it is written to, and the alias moves to the new one.
        sparse_fields: Further sparse fields, ``title_sparse=title^2`` each, as
            :func:`osparse.deployer.fields.sparse_fields.read_sparse_fields` describes; None keeps those of the index
            before, [] has none.

    Raises:
        DeploymentConflictError: the name is taken by an index osparse did not make, or this bundle is served under it
            in another layout.
        MissingPluginError, AccessError, ClusterUnreachableError, ClusterBusyError, ClusterError: see their text.
        CheckError: the served models do not give the weights the bundle was proved with, or the gate does not hold.
        BundleError: client mode, and the bundle has no onnx part.
        InputError: ``index`` cannot be a name, or a choice this cluster, mode or bundle cannot have.
    """
    started = time.monotonic()
    models, upgrade = models or ModelOptions(), upgrade or Upgrade()
    if cluster.serverless and adoption is not None:
        raise InputError("a Serverless collection shows no sequence numbers, which `source` needs; load the documents")
    shards = _opened(upgrade, bundle)
    survey = read_survey(bundle, cluster, index, mode, serving, mapping, adoption, models.encoder_url, sparse_fields)
    if shards is not None and survey.deployment.fields:
        raise InputError(f"`encoded` holds one vector of each document, and {survey.index} has several; leave it out")
    if shards is not None:
        shards.check_long_texts(long_texts(survey.deployment.window_weight), f"the new index {survey.index}")
    _check_collection(survey, upgrade)
    _warn_of_idle(survey, models, upgrade)
    with _origin(survey, upgrade, shards, plan_only) as origin:
        filling = _switch_steps(survey, upgrade, origin) if adoption is None else _adoption_steps(survey, upgrade)
        steps = [*_serving_steps(survey, models), *filling, *_hybrid_steps(survey, upgrade)]
        findings, made = inspect_all(steps), Made()
        if not plan_only:
            findings, made = apply_all(steps, findings)
    return DeployResult(
        plan=DeployPlan(survey.mode.mode, survey.mode.why, survey.index, index, tuple(findings)),
        deployment=survey.deployment,
        applied=not plan_only,
        seconds=time.monotonic() - started,
        snippets=snippets(bundle, survey.deployment, index, survey.serving, survey.others),
        gate=[*made.gate],
        notes=[*survey.notes, *made.notes],
        staged_beside=survey.old.index if upgrade.stage and survey.old is not None else None,
        preflight=_preflight(survey, steps, models, upgrade) if plan_only else None,
    )


def _opened(upgrade: Upgrade, bundle: Bundle) -> ShardSet | None:
    """The shards to copy with; raises :class:`InputError` if they are of another bundle."""
    if upgrade.encoded is None:
        return None
    shards = ShardSet.open(open_folder(upgrade.encoded))
    shards.check_bundle(bundle.name, bundle.fingerprint, "is to be deployed")
    return shards


@contextmanager
def _origin(survey: Survey, upgrade: Upgrade, shards: ShardSet | None, plan_only: bool) -> Iterator[VectorOrigin]:
    """Where the vectors of the copied documents come from; the shards are read where there is something to copy."""
    origin = VectorOrigin(upgrade.encode, survey.bundle)
    if shards is None or plan_only or survey.old is None or upgrade.stage or not upgrade.copy:
        yield origin
        return
    with VectorLookup(shards) as lookup:
        yield replace(origin, given=lookup)


def _preflight(survey: Survey, steps: list[Step], models: ModelOptions, upgrade: Upgrade) -> Preflight:
    """Whether the plan can be carried out, as far as the cluster shows it beforehand."""
    (index,) = (step for step in steps if isinstance(step, ServingIndex))
    new = survey.api.get_mapping(survey.index) is None
    old = survey.old.index if survey.old is not None else None
    intent = Intent(
        alias=survey.alias,
        index=survey.index,
        deployment=survey.deployment,
        bundle=survey.bundle,
        others=[*survey.others.values()],
        old=old,
        before=survey.old.deployment if survey.old is not None else None,
        copies=old is not None and upgrade.copy and not upgrade.stage,
        source=survey.adopted.source if survey.adopted is not None else None,
        body=index.planned_body() if new else None,
        models=[step.copies for step in served_models(steps)],
        allow_settings=models.allow_settings,
        via_url=models.via_url,
        nodes=len(survey.facts.nodes),
    )
    return preflight(survey.api, survey.facts, intent)


def _check_collection(survey: Survey, upgrade: Upgrade) -> None:
    """Raises :class:`InputError` for a copy within a collection of OpenSearch Serverless."""
    if survey.api.cluster.serverless and survey.old is not None and upgrade.copy and not upgrade.stage:
        raise InputError(
            "documents cannot be copied within a Serverless collection, which does not count its writes: deploy with "
            "`stage=True`, load the new index, then deploy with `copy=False`"
        )


def _warn_of_idle(survey: Survey, models: ModelOptions, upgrade: Upgrade) -> None:
    """Options that have no effect in this deploy."""
    client = survey.mode.mode == "client"
    if models.allow_settings and client:
        log.warning("`allow_settings` has no effect in mode client: no cluster setting is needed")
    if models.via_url is not None and client:
        log.warning("`via_url` has no effect in mode client: no model is registered")
    copies = survey.old is not None and upgrade.copy and not upgrade.stage
    idle = {"encoded": upgrade.encoded is not None, "encode": upgrade.encode != "auto"}
    for name in [name for name, given in idle.items() if given and not copies]:
        log.warning("`%s` has no effect here: no documents are copied", name)
    if upgrade.carry_aliases and (survey.beside is None or upgrade.stage):
        log.warning("`carry_aliases` has no effect here: the name does not move from another index")


def _serving_steps(survey: Survey, options: ModelOptions) -> list[Step]:
    """Everything the new index needs, and the index itself."""
    api, bundle, serving, deployment = survey.api, survey.bundle, survey.serving, survey.deployment
    beside, user = survey.beside, survey.user
    kept = user is not None and beside is not None and user.where == beside
    index = ServingIndex(api, survey.alias, survey.index, deployment, bundle, beside, serving, user, kept)
    part_file(bundle, "tokenizer")
    others = survey.others.values()
    if deployment.mode == "client":
        return [*client_steps(api, (bundle, *others)), index]
    ml = MLCommons(api.cluster)
    tokenizer = find_copies(ml, bundle, "tokenizer")
    ingest = IngestPipeline(api, bundle, serving, deployment.piece_words, deployment.encoder_part)
    chosen = survey.facts.has("model_id")
    return [
        *_encoder_steps(survey, options, ml, tokenizer, chosen),
        ServedModel(ml, bundle, "tokenizer", tokenizer, options.via_url, chosen),
        StoreParts(api, bundle, ("tokenizer", *seen_part(bundle))),
        *model_steps(api, others, options.via_url, choose_id=chosen),
        *([ingest] if deployment.ingest_pipeline else []),
        SearchPipeline(api, bundle, serving),
        *([SeismicThreads(api, options.allow_settings)] if deployment.vector == "sparse_vector" else []),
        index,
    ]


def _encoder_steps(
    survey: Survey, options: ModelOptions, ml: MLCommons, tokenizer: ModelCopies, chosen: bool
) -> list[Step]:
    """Settings, group and the model that encodes documents: a local one, or one that calls the encoder's address."""
    api, bundle, url = survey.api, survey.bundle, survey.deployment.encoder_url
    if url is not None:
        return [
            TrustedEndpoint(api, url, options.allow_settings),
            MLSettings(api, survey.facts, (tokenizer,), options.allow_settings, options.via_url),
            ModelGroup(ml, bundle),
            RemoteEncoder(ml, bundle, wanted_connector(bundle, survey.deployment)),
        ]
    encoder = find_copies(ml, bundle, "encoder")
    others = copies_of(ml, survey.others.values())
    return [
        MLSettings(api, survey.facts, (encoder, tokenizer, *others), options.allow_settings, options.via_url),
        ModelGroup(ml, bundle),
        ServedModel(ml, bundle, "encoder", encoder, options.via_url, chosen),
    ]


def _switch_steps(survey: Survey, upgrade: Upgrade, origin: VectorOrigin | None = None) -> list[Step]:
    """What brings the new index into the place of the old one."""
    old = survey.old
    if old is None or upgrade.stage:
        return []
    copied = (
        CopiedDocuments(survey.api, old, survey.index, survey.deployment, origin or VectorOrigin())
        if upgrade.copy
        else None
    )
    switch = Switch(
        survey.api, survey.alias, old, survey.index, survey.bundle, survey.deployment, upgrade.gate,
        upgrade.carry_aliases, copied,
    )  # fmt: skip
    return [switch] if copied is None else [copied, switch]


def _adoption_steps(survey: Survey, upgrade: Upgrade) -> list[Step]:
    """What fills the new index from the one that is taken over, and moves the name."""
    if upgrade.stage or not upgrade.copy:
        raise InputError("`stage` and `copy=False` leave out what `source` asks for; leave one of them out")
    checks = GateChecks(
        survey.api, survey.alias, survey.beside or "", survey.index, survey.bundle, survey.deployment, upgrade.gate
    )
    return adoption_steps(survey.adopted, checks, upgrade.carry_aliases)


def _hybrid_steps(survey: Survey, upgrade: Upgrade) -> list[Step]:
    """The pipeline of hybrid queries under the alias, once that stands on the new index; where it has one, or had.

    Whether it had one is asked of the cluster: ``_meta`` says "none" before an interrupted run deletes the pipeline.
    """
    staged = survey.old is not None and upgrade.stage
    if staged or (survey.serving.hybrid == "none" and not _has_fusing_pipeline(survey)):
        return []
    client = survey.deployment.mode == "client"
    plain = None if client else SearchPipeline(survey.api, survey.bundle, survey.serving)
    return [FusingPipeline(survey.api, survey.alias, survey.bundle, survey.serving, plain)]


def _has_fusing_pipeline(survey: Survey) -> bool:
    name = names.fusing_pipeline(survey.alias)
    try:
        return survey.api.get_search_pipeline(name) is not None
    except AccessError as problem:  # client mode without hybrid queries needs no right to read search pipelines
        log.info("whether search pipeline %s exists is not known: %s", name, problem)
        return False
