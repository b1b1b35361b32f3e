"""Everything that a deploy depends on, looked at before it sends anything; and the part that needs no bundle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from osparse.contracts.bundle import Bundle
from osparse.contracts.deployment import Deployment
from osparse.deployer.adopt.source_index import SourceIndex
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.facts import Facts
from osparse.deployer.cluster.inherited_settings import flat_settings
from osparse.deployer.mlcommons.api import MLCommons
from osparse.deployer.mlcommons.model_steps import ModelCopies
from osparse.deployer.mlcommons.settings_step import (
    MAX_MODELS,
    local_models,
    needed_settings,
    needed_slots,
    settings_call,
)
from osparse.deployer.names import BUNDLES_INDEX
from osparse.deployer.preflight.adoption import adopting_calls, reading_calls, source_checks
from osparse.deployer.preflight.blocks import cluster_blocks, index_checks
from osparse.deployer.preflight.capacity import (
    COPY_FACTOR,
    breaker_checks,
    disk_check,
    heap_checks,
    shard_check,
)
from osparse.deployer.preflight.checks import Check, Preflight
from osparse.deployer.preflight.permissions import deploy_calls, permission_checks
from osparse.deployer.preflight.requests import PreflightRequests
from osparse.deployer.preflight.templates import template_checks
from osparse.formula.server_costs import sparse_field_bytes


@dataclass(frozen=True)
class Intent:
    """What a deploy is going to do."""

    alias: str
    index: str
    """The index that is to serve under the alias."""
    deployment: Deployment
    bundle: Bundle
    others: Sequence[Bundle] = ()
    """Those of further sparse fields, where they are not the index's own."""
    old: str | None = None
    """The index whose name it takes over."""
    before: Deployment | None = None
    """Of ``old``."""
    copies: bool = False
    """Whether the documents of ``old`` are copied."""
    source: SourceIndex | None = None
    """The index that is taken over, whose documents are copied."""
    body: Mapping[str, Any] | None = None
    """What creates the index; None where it exists."""
    models: Sequence[ModelCopies] = ()
    allow_settings: bool = False
    via_url: str | None = None
    nodes: int = 1
    """Of the cluster: how many copies of a shard there can be."""


def preflight(api: ClusterApi, facts: Facts, intent: Intent) -> Preflight:
    """Reads the cluster and changes nothing; the permissions are asked for by dry runs."""
    settings, requests = api.settings(), PreflightRequests(api.cluster)
    limits, ml = requests.limits(), intent.deployment.mode == "ml-commons"
    touched = [intent.index, *filter(None, [intent.old]), BUNDLES_INDEX]
    calls = deploy_calls(
        intent.alias, intent.index, _copied(intent), ml=ml, semantic=intent.deployment.vector == "semantic"
    )
    if intent.source is not None:
        calls += adopting_calls(intent.source, intent.index)
    version = Check("ok", f"OpenSearch {facts.version} has what mode {intent.deployment.mode} and the options need")
    return Preflight.of(
        [version],
        cluster_blocks(settings),
        index_checks(api, touched),
        _source_checks(intent.source) if intent.source is not None else [],
        _model_checks(api, facts, intent, settings) if ml else [],
        breaker_checks(limits),
        disk_check(limits, settings, *_added_bytes(api, intent)),
        shard_check(requests.health(), settings, _added_shards(api, intent)),
        template_checks(api, intent.index, intent.body) if intent.body is not None else [],
        permission_checks(api.cluster, calls, "deploy"),
    )


def _copied(intent: Intent) -> str | None:
    """The index on the cluster that is deployed to whose documents are copied."""
    if intent.source is not None:
        return None if intent.source.remote else intent.source.index
    return intent.old if intent.copies else None


def _source_checks(source: SourceIndex) -> Iterator[Check]:
    yield from source_checks(source)
    if source.remote:
        yield from permission_checks(source.api.cluster, reading_calls(source), f"reading {source.shown}")


def cluster_checks(api: ClusterApi) -> Iterator[Check]:
    """What can be said without a bundle and an index."""
    settings, requests = api.settings(), PreflightRequests(api.cluster)
    yield from cluster_blocks(settings)
    yield from breaker_checks(requests.limits())
    yield from shard_check(requests.health(), settings, 1)


def _model_checks(api: ClusterApi, facts: Facts, intent: Intent, settings: Mapping[str, str]) -> Iterator[Check]:
    if all(model.answers for model in intent.models):
        yield Check("ok", "its models are deployed and answer: no slot is needed")
        return
    needed = {**needed_settings(api, facts, intent.via_url), **needed_slots(api, intent.models)}
    for name, (value, why) in needed.items():
        if intent.allow_settings:
            yield Check("note", f"{why}: {name} is going to be set to {value}")
        else:
            call = settings_call({name: (value, why)}).replace("\n", " ")
            yield Check("blocked", f"{why}: pass `allow_settings=True`, or make the call {call}")
    if MAX_MODELS not in needed:
        most = int(float(settings.get(MAX_MODELS, "10")))
        profiles = MLCommons(api.cluster).profiles()
        running = max((len(local_models(profile)) for profile in profiles.values()), default=0)
        brings = f"the bundles bring {len(intent.models)}" if intent.others else "the bundle brings two"
        yield Check("ok", f"model slots: at most {running} of {most} are in use on a node, and {brings}")
    yield from heap_checks(api.node_stats(), settings)


def _added_bytes(api: ClusterApi, intent: Intent) -> tuple[float, str]:
    """Bytes on disk, copies of shards included, and what takes them."""
    parts = sum(file.size for bundle in (intent.bundle, *intent.others) for file in bundle.files.values())
    if intent.source is not None:
        return parts + _adopted_bytes(intent, intent.source), f"the bundle and the copy of {intent.source.shown}"
    if not intent.copies or intent.old is None:
        return float(parts), "the bundle" if not intent.others else "the bundles"
    documents = api.count_unless_closed(intent.old)
    store = 0 if documents is None else api.store_size(intent.old)
    had = {view.field for view in intent.before.views} if intent.before is not None else set[str]()
    added = [view for view in intent.deployment.views if view.field not in had]
    size = _copy_bytes(intent, store, documents or 0, added)
    return parts + size, f"the bundle and the copy of {intent.old}"


def _adopted_bytes(intent: Intent, source: SourceIndex) -> float:
    """Of the copy of an index that has no vectors yet."""
    return _copy_bytes(
        intent, source.api.store_size(source.index), source.api.count(source.index), intent.deployment.views
    )


def _copy_bytes(intent: Intent, store: int, documents: int, added: Sequence[Deployment]) -> float:
    """Of all copies of the shards: what the source takes, and the longest vectors of the fields that it lacks."""
    bundles = {bundle.fingerprint: bundle for bundle in (intent.bundle, *intent.others)}
    seismic = intent.deployment.vector == "sparse_vector"
    vectors = sum(sparse_field_bytes(_most_weights(bundles[view.fingerprint]), seismic=seismic) for view in added)
    return COPY_FACTOR * (store + documents * vectors) * (1 + _replicas(intent.body or {}, intent.nodes))


def _most_weights(bundle: Bundle) -> int:
    return int(bundle.fit.get("nonzeros", {}).get("max") or bundle.vocabulary)


def _added_shards(api: ClusterApi, intent: Intent) -> int:
    bundles = 0 if api.get_mapping(BUNDLES_INDEX) is not None else 1
    if intent.body is None:
        return bundles
    shards = int(flat_settings(intent.body.get("settings", {})).get("index.number_of_shards", 1))
    return bundles + shards * (1 + _replicas(intent.body, intent.nodes))


def _replicas(body: Mapping[str, Any], nodes: int) -> int:
    """Of a new index; "0-1" expands to one where there is a second node."""
    settings = flat_settings(body.get("settings", {}))
    expands = str(settings.get("index.auto_expand_replicas", "false"))
    if expands in ("false", "None"):
        return int(settings.get("index.number_of_replicas", 1))
    least, _, most = expands.partition("-")
    return max(int(least), min(int(most) if most.isdecimal() else nodes, nodes - 1))
