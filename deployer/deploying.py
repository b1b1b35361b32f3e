"""Deploy a bundle: look at the cluster, plan, apply. Running it again changes nothing; an interrupted run resumes."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from osparse.bundle import Bundle
from osparse.deployer import names
from osparse.deployer.artifacts import StoreParts, part_file
from osparse.deployer.cluster_api import ClusterApi
from osparse.deployer.connection import Cluster
from osparse.deployer.dashboards import snippets
from osparse.deployer.facts import OLDEST_TWO_PHASE, AskedMode, Choice, Facts, choose_mode, look
from osparse.deployer.ml_commons import MLCommons
from osparse.deployer.ml_models import ModelGroup, ServedModel
from osparse.deployer.ml_settings import MLSettings
from osparse.deployer.pipelines import IngestPipeline, SearchPipeline
from osparse.deployer.plan import Plan, Step, apply_all, inspect_all
from osparse.deployer.serving_index import ServingIndex, deployment_of
from osparse.deployment import META_KEY, Deployment
from osparse.errors import InputError

log = logging.getLogger("osparse.deployer.deploying")


@dataclass(frozen=True)
class DeployResult:
    """What a deploy did, or with ``plan_only`` would do."""

    plan: Plan
    deployment: Deployment
    applied: bool
    seconds: float
    snippets: str
    """Dev Tools lines to paste."""

    def __str__(self) -> str:
        changes = len(self.plan.changes)
        if not self.applied:
            return f"{self.plan}\n{changes} of {len(self.plan.findings)} steps to do; nothing was touched"
        done = f"{changes} changes" if changes else "nothing to change, all of it was there"
        return f"{self.plan}\n{self.plan.alias} is served ({done}; {self.seconds:.1f} s)\n\nDev Tools:\n{self.snippets}"

    def to_json(self) -> dict[str, Any]:
        return {
            **self.plan.to_json(),
            "applied": self.applied,
            "fingerprint": self.deployment.fingerprint,
            "key_style": self.deployment.key_style,
            "seconds": round(self.seconds, 3),
            "snippets": self.snippets,
        }


def deploy(
    bundle: Bundle,
    cluster: Cluster,
    index: str,
    *,
    mode: AskedMode = "auto",
    plan_only: bool = False,
    two_phase: bool = False,
    allow_settings: bool = False,
) -> DeployResult:
    """Serve ``bundle`` on ``cluster`` under the alias ``index``.

    Args:
        mode: "auto" looks at the plugins; "ml-commons" and "client" insist.
        plan_only: Say what would be created, changed or kept, and touch nothing.
        two_phase: Let the search pipeline score text queries in two phases (ml-commons).
        allow_settings: Change the cluster settings that ML Commons needs; otherwise the call to make is reported.

    Raises:
        DeploymentConflictError: the name is taken by another bundle or by an index osparse did not make.
        MissingPluginError, AccessError, ClusterUnreachableError, ClusterBusyError, ClusterError: see their text.
        CheckError: the served models do not give the weights the bundle was proved with.
        BundleError: client mode, and the bundle has no onnx part.
        InputError: ``index`` cannot be a name, or ``two_phase`` in client mode or below 2.15.
    """
    started = time.monotonic()
    names.check_index_name(index)
    api = ClusterApi(cluster)
    facts = look(api)
    choice, deployment = _decide(api, facts, bundle, index, mode, two_phase)
    _check_flags(facts, choice, two_phase, allow_settings)
    log.debug("mode %s: %s", choice.mode, choice.why)
    steps = _steps(api, facts, bundle, index, deployment, two_phase, allow_settings)
    findings = inspect_all(steps)
    if not plan_only:
        findings = apply_all(steps, findings)
    plan = Plan(choice.mode, choice.why, names.concrete_index(index, bundle), index, tuple(findings))
    return DeployResult(
        plan, deployment, not plan_only, time.monotonic() - started, snippets(bundle, deployment, index)
    )


def _decide(
    api: ClusterApi, facts: Facts, bundle: Bundle, index: str, asked: str, two_phase: bool
) -> tuple[Choice, Deployment]:
    """An index of this bundle that is there decides for "auto"; otherwise the plugins do."""
    there = _existing(api, names.concrete_index(index, bundle))
    if asked == "auto" and there is not None and there.fingerprint == bundle.fingerprint:
        search = names.search_pipeline(bundle, two_phase) if there.mode == "ml-commons" else None
        return Choice(there.mode, "the index exists and was made so"), replace(there, search_pipeline=search)
    choice = choose_mode(facts, asked)
    deployment = deployment_of(bundle, choice.mode, facts.key_style, two_phase)
    if choice.mode == "client" and there is not None and there.mode == "client":
        deployment = deployment_of(bundle, "client", there.key_style)
    return choice, deployment


def _check_flags(facts: Facts, choice: Choice, two_phase: bool, allow_settings: bool) -> None:
    if two_phase and choice.mode == "ml-commons" and not facts.at_least(OLDEST_TWO_PHASE):
        raise InputError(f"--two-phase needs OpenSearch 2.15 or newer, this is {facts.version}; leave the flag out")
    if choice.mode != "client":
        return
    if two_phase:
        raise InputError(
            f"--two-phase is for mode ml-commons, and this is mode client ({choice.why}): its queries go through no "
            "search pipeline; leave the flag out"
        )
    if allow_settings:
        log.warning("--allow-settings does nothing in mode client: no cluster setting is needed")


def _existing(api: ClusterApi, name: str) -> Deployment | None:
    found = (api.get_mapping(name) or {}).get(name, {}).get("mappings", {}).get("_meta", {})
    return Deployment.from_meta(found, name) if META_KEY in found else None


def _steps(
    api: ClusterApi,
    facts: Facts,
    bundle: Bundle,
    index: str,
    deployment: Deployment,
    two_phase: bool,
    allow_settings: bool,
) -> Sequence[Step]:
    serving = ServingIndex(api, index, names.concrete_index(index, bundle), deployment)
    part_file(bundle, "tokenizer")
    if deployment.mode == "client":
        part_file(bundle, "onnx")
        return [StoreParts(api, bundle, ("tokenizer", "onnx")), serving]
    ml = MLCommons(api.cluster)
    group = ModelGroup(ml, bundle)
    encoder = ServedModel(ml, bundle, "encoder", group)
    tokenizer = ServedModel(ml, bundle, "tokenizer", group)
    return [
        MLSettings(api, facts, (encoder, tokenizer), allow_settings),
        group,
        encoder,
        tokenizer,
        StoreParts(api, bundle, ("tokenizer",)),
        IngestPipeline(api, bundle, encoder),
        SearchPipeline(api, bundle, tokenizer, two_phase),
        serving,
    ]
