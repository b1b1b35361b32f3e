"""Deploy a bundle: look at the cluster, plan, apply. Running it again changes nothing; an interrupted run resumes.

A bundle deployed under a name that another one serves is put beside it, filled, and takes over once the gate holds.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from osparse.contracts.bundle import Bundle
from osparse.contracts.deployment import META_KEY, Deployment
from osparse.deployer import names
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.client import Cluster
from osparse.deployer.cluster.facts import AskedMode, Choice, Facts, choose_mode, look
from osparse.deployer.index.generations import Generation, read_generations
from osparse.deployer.index.index_step import ServingIndex, deployment_of
from osparse.deployer.index.kept_options import settle
from osparse.deployer.index.layout import Serving, check_serving
from osparse.deployer.index.pipeline_steps import FusingPipeline, IngestPipeline, SearchPipeline
from osparse.deployer.index.switch import Documents, Gate, Switch
from osparse.deployer.load.bundle_store import StoreParts, part_file
from osparse.deployer.mlcommons.api import MLCommons
from osparse.deployer.mlcommons.model_steps import ModelGroup, ServedModel
from osparse.deployer.mlcommons.settings_step import MLSettings
from osparse.deployer.operate.snippets import snippets
from osparse.deployer.plan import Plan, Step, apply_all, inspect_all
from osparse.errors import DeploymentConflictError

log = logging.getLogger("osparse.deployer.operate.deploy")


@dataclass(frozen=True)
class DeployResult:
    """What a deploy did, or with ``plan_only`` would do."""

    plan: Plan
    deployment: Deployment
    applied: bool
    seconds: float
    snippets: str
    """Dev Tools lines to paste."""
    gate: list[str] = field(default_factory=list)
    """What was compared before the name moved; empty if it did not move."""
    notes: list[str] = field(default_factory=list)
    """What else is worth knowing."""
    staged_beside: str | None = None
    """The index that still serves, if the new one was only made."""

    def __str__(self) -> str:
        changes = len(self.plan.changes)
        notes = [f"  note: {note}" for note in self.notes]
        if not self.applied:
            shown = "\n".join([str(self.plan), *notes])
            return f"{shown}\n{changes} of {len(self.plan.findings)} steps to do; nothing was touched"
        done = f"{changes} changes" if changes else "nothing to change, all of it was there"
        lines = [str(self.plan), *(f"  gate: {found}" for found in self.gate)]
        lines += notes
        if self.staged_beside is not None:
            new, name = self.plan.index, self.plan.alias
            lines.append(
                f"{new} is ready beside {self.staged_beside}, which still serves {name} ({done}; "
                f"{self.seconds:.1f} s)\nload it: osparse index --index {new} DOCUMENTS; then let it take "
                f"over: osparse deploy BUNDLE --index {name} --no-copy"
            )
        else:
            lines.append(f"{self.plan.alias} is served ({done}; {self.seconds:.1f} s)")
        return "\n".join([*lines, "", "Dev Tools:", self.snippets])

    def to_json(self) -> dict[str, Any]:
        return {
            **self.plan.to_json(),
            "applied": self.applied,
            "fingerprint": self.deployment.fingerprint,
            "key_style": self.deployment.key_style,
            "seconds": round(self.seconds, 3),
            "gate": self.gate,
            "notes": self.notes,
            "staged_beside": self.staged_beside,
            "snippets": self.snippets,
        }


def deploy(
    bundle: Bundle,
    cluster: Cluster,
    index: str,
    *,
    mode: AskedMode = "auto",
    plan_only: bool = False,
    serving: Serving | None = None,
    choices: Mapping[str, Any] | None = None,
    allow_settings: bool = False,
    via_url: str | None = None,
    stage: bool = False,
    copy: bool = True,
    gate: Gate | None = None,
    carry_aliases: bool = False,
) -> DeployResult:
    """Serve ``bundle`` on ``cluster`` under the alias ``index``.

    Where another bundle serves under that name, the new index is made beside the old one, the old one's documents are
    copied and encoded again, the gate is passed, and the alias moves in one call; the old index stays for a rollback.

    Args:
        mode: "auto" looks at the plugins; "ml-commons" and "client" insist.
        plan_only: Say what would be created, changed or kept, and touch nothing.
        serving: Field type, pieces, search pipelines, pruning, all at once; see :class:`Serving`.
        choices: Or some of them by name; the others stay as in the index that serves. With neither, all stay.
        allow_settings: Change the cluster settings that ML Commons needs; otherwise the call to make is reported.
        via_url: Let the cluster fetch the zips from under this address instead of sending them in chunks.
        stage: Beside another bundle: make everything but copy nothing and leave the alias.
        copy: Beside another bundle: copy its documents; without it the new index must have been loaded.
        gate: Judged queries that the new index must answer about as well as the old one.
        carry_aliases: Beside another bundle: move the aliases that others put on the old index along with the switch.

    Raises:
        DeploymentConflictError: the name is taken by an index osparse did not make, or this bundle is served under it
            in another layout.
        MissingPluginError, AccessError, ClusterUnreachableError, ClusterBusyError, ClusterError: see their text.
        CheckError: the served models do not give the weights the bundle was proved with, or the gate does not hold.
        BundleError: client mode, and the bundle has no onnx part.
        InputError: ``index`` cannot be a name, or a choice this cluster, mode or bundle cannot have.
    """
    started = time.monotonic()
    names.check_index_name(index)
    api = ClusterApi(cluster)
    facts = look(api)
    name = names.concrete_index(index, bundle)
    there, old = _existing(api, name), _in_use(api, index, name)
    choice = _mode(facts, bundle, mode, there)
    before = there or (old.deployment if old is not None else None)
    serving, notes = settle(before, choice.mode, serving, choices or {})
    style = there.key_style if there is not None and there.mode == choice.mode else facts.key_style
    check_serving(serving, facts, choice, bundle)
    deployment = deployment_of(bundle, choice.mode, style, serving)
    if allow_settings and choice.mode == "client":
        log.warning("--allow-settings does nothing in mode client: no cluster setting is needed")
    if via_url is not None and choice.mode == "client":
        log.warning("--via-url does nothing in mode client: no model is registered")
    if carry_aliases and (old is None or stage):
        log.warning("carry_aliases does nothing here: the name does not move from another index")
    log.debug("mode %s: %s", choice.mode, choice.why)
    steps = _steps(api, facts, bundle, index, deployment, serving, allow_settings, via_url, old)
    switch = None
    fusing = _fusing(api, index, bundle, serving, before, steps)
    if old is None:
        steps += fusing
    elif not stage:
        switch = Switch(api, index, old, name, bundle, deployment, gate, carry_aliases)
        steps += [*([Documents(api, old, name, deployment)] if copy else []), switch, *fusing]
    findings = inspect_all(steps)
    if not plan_only:
        findings = apply_all(steps, findings)
    return DeployResult(
        plan=Plan(choice.mode, choice.why, name, index, tuple(findings)),
        deployment=deployment,
        applied=not plan_only,
        seconds=time.monotonic() - started,
        snippets=snippets(bundle, deployment, index, serving),
        gate=switch.report if switch is not None else [],
        notes=[*notes, *(switch.notes if switch is not None else [])],
        staged_beside=old.index if stage and old is not None else None,
    )


def _mode(facts: Facts, bundle: Bundle, asked: str, there: Deployment | None) -> Choice:
    """An index of this bundle that is there decides for "auto"; otherwise the plugins do."""
    if asked == "auto" and there is not None and there.fingerprint == bundle.fingerprint:
        return Choice(there.mode, "the index exists and was made so")
    return choose_mode(facts, asked)


def _existing(api: ClusterApi, name: str) -> Deployment | None:
    found = (api.get_mapping(name) or {}).get(name, {}).get("mappings", {}).get("_meta", {})
    return Deployment.from_meta(found, name) if META_KEY in found else None


def _in_use(api: ClusterApi, alias: str, name: str) -> Generation | None:
    """The other index that serves under the alias; raises :class:`DeploymentConflictError` for a stranger's."""
    current = read_generations(api, alias).current
    if current is not None:
        return current if current.index != name else None
    if alias in (api.get_mapping(alias) or {}):
        raise DeploymentConflictError(f"{alias} is an index and osparse did not make it; choose another --index")
    return None


def _steps(
    api: ClusterApi,
    facts: Facts,
    bundle: Bundle,
    index: str,
    deployment: Deployment,
    serving: Serving,
    allow_settings: bool,
    via_url: str | None,
    old: Generation | None,
) -> list[Step]:
    beside = old.index if old is not None else None
    place = ServingIndex(api, index, names.concrete_index(index, bundle), deployment, bundle, beside, serving=serving)
    part_file(bundle, "tokenizer")
    if deployment.mode == "client":
        part_file(bundle, "onnx")
        return [StoreParts(api, bundle, ("tokenizer", "onnx")), place]
    ml, words = MLCommons(api.cluster), deployment.piece_words
    group = ModelGroup(ml, bundle)
    encoder = ServedModel(ml, bundle, "encoder", group, via_url)
    tokenizer = ServedModel(ml, bundle, "tokenizer", group, via_url)
    place.models = (encoder, tokenizer)
    return [
        MLSettings(api, facts, (encoder, tokenizer), allow_settings, via_url),
        group,
        encoder,
        tokenizer,
        StoreParts(api, bundle, ("tokenizer",)),
        *([IngestPipeline(api, bundle, encoder, serving, words)] if deployment.ingest_pipeline else []),
        SearchPipeline(api, bundle, tokenizer, serving),
        place,
    ]


def _fusing(
    api: ClusterApi,
    index: str,
    bundle: Bundle,
    serving: Serving,
    before: Deployment | None,
    steps: Sequence[Step],
) -> list[Step]:
    """The step for hybrid queries, where there are any, or were."""
    if serving.hybrid == "none" and (before is None or before.hybrid == "none"):
        return []
    plain = next((step for step in steps if isinstance(step, SearchPipeline)), None)
    return [FusingPipeline(api, index, bundle, serving, plain)]
