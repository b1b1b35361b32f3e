"""Put the chosen setting of a plan into service: a record in ``_meta``, search pipelines, or another index."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from osparse.contracts.bundle import Bundle
from osparse.deployer import ModelOptions, Upgrade, deploy
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.client import Cluster
from osparse.deployer.cluster.facts import look
from osparse.deployer.index.seismic_parameters import parameters_of
from osparse.deployer.names import concrete_index, fusing_pipeline
from osparse.deployer.segments.segments import force_merge
from osparse.errors import InputError
from osparse.opensearch_templates import render
from osparse.retrieval.quality_gate import gate
from osparse.retrieval.searcher import Searcher
from osparse.retrieval.serving.settings import SCHEMA_VERSION, TUNING_META_KEY, Hybrid, Setting, TwoPhase
from osparse.retrieval.tuning.applying.changed_bundle import pruned_bundle, rebuilt, rebuilt_bundle, stored_bundle
from osparse.retrieval.tuning.applying.copies import fill
from osparse.retrieval.tuning.result.choice import MARGIN
from osparse.retrieval.tuning.result.plan import TuningPlan

log = logging.getLogger("osparse.retrieval.tuning.applying.apply_plan")

PROBES = 16
"""Texts of the index that a changed bundle is proved with, where no bundle was given."""


def apply_plan(
    cluster: Cluster, index: str, plan: TuningPlan, searcher: Searcher, dataset: Path, bundle: Bundle | None = None
) -> str:
    """Bring the chosen setting about and say what was changed; "" where the plan says that nothing should change.

    Raises:
        InputError: an index stored otherwise in mode ml-commons or remote without the bundle, or with another one.
        CheckError: the gate does not hold; the name stays where it was.
    """
    if not plan.change:
        return ""
    setting, api = plan.choice.setting, ClusterApi(cluster)
    if setting.storage is not None:
        loss = max(0.0, plan.present.test - plan.choice.test)
        return _index_beside(cluster, index, setting, searcher, dataset, bundle, MARGIN + loss)
    return put_into_service(api, index, searcher, setting.stored_as(searcher.setting))


def put_into_service(api: ClusterApi, index: str, searcher: Searcher, setting: Setting) -> str:
    """Let searches of the index use the setting, which prunes as the index was pruned; returns what was changed."""
    (concrete,) = api.get_mapping(index) or {}
    record(api, concrete, setting)
    return "; ".join([f"{concrete} records the setting", *_pipelines(api, index, concrete, searcher, setting)])


def record(api: ClusterApi, concrete: str, setting: Setting) -> None:
    """Write the setting into the index's ``_meta``, beside what is there; the plain one takes the record away."""
    meta = dict((api.get_mapping(concrete) or {}).get(concrete, {}).get("mappings", {}).get("_meta", {}))
    meta.pop(TUNING_META_KEY, None)
    if setting != Setting():
        meta[TUNING_META_KEY] = {"schema": SCHEMA_VERSION, "setting": setting.to_json()}
    api.put_mapping(concrete, render("index_meta", meta=meta))


def _index_beside(
    cluster: Cluster,
    index: str,
    setting: Setting,
    searcher: Searcher,
    dataset: Path,
    bundle: Bundle | None,
    margin: float,
) -> str:
    """The pruned or newly built index beside the present one; the name moves once the gate of deploy holds."""
    api, deployment = ClusterApi(cluster), searcher.deployment
    (old,) = found = api.get_mapping(index) or {}
    present = parameters_of(found[old]["mappings"], deployment.field)
    if bundle is not None and deployment.fingerprint not in (bundle.fingerprint, rebuilt(bundle, present).fingerprint):
        raise InputError(
            f"`bundle` has the fingerprint {bundle.short}, and {index} serves {deployment.fingerprint[:12]}; give the "
            "deployed bundle"
        )
    models = ModelOptions(encoder_url=deployment.encoder_url)
    with tempfile.TemporaryDirectory(prefix="osparse-") as folder:
        source = bundle or stored_bundle(api, deployment, _texts(api, old), Path(folder) / "deployed")
        changed = _changed_bundle(source, setting, present, Path(folder) / "changed")
        new = concrete_index(index, changed)
        deploy(changed, cluster, index, mode=deployment.mode, upgrade=Upgrade(stage=True), models=models)
        record(api, new, setting)
        fill(api, old, new, deployment.field, setting.pruning)
        if setting.build is not None:
            force_merge(api, new)  # as it was measured
        quality = gate(cluster, dataset, margin=margin)
        result = deploy(changed, cluster, index, mode=deployment.mode, upgrade=Upgrade(gate=quality), models=models)
    steps = [f"{index} moved from {old} to {new}", *result.gate, f"osparse rollback --index {index} moves it back"]
    return "; ".join([*steps, *_pipelines(api, index, new, Searcher(cluster, index), setting)])


def _changed_bundle(source: Bundle, setting: Setting, present: Mapping[str, float], folder: Path) -> Bundle:
    """The bundle whose index is stored as the setting says; other parameters of SEISMIC stay the present ones."""
    if setting.pruning is not None:
        return pruned_bundle(source, setting.pruning, folder)
    given = setting.build.given if setting.build is not None else {}
    return rebuilt_bundle(source, {**present, **given}, folder)


def _texts(api: ClusterApi, concrete: str) -> list[str]:
    """Texts of some documents, each once."""
    body = render("documents_some", size=PROBES)
    rows = api.search(concrete, body, {"search_pipeline": "_none"})["hits"]["hits"]
    return list(dict.fromkeys(str(row.get("_source", {}).get("text") or "") for row in rows)) or [""]


def _pipelines(api: ClusterApi, index: str, concrete: str, searcher: Searcher, setting: Setting) -> list[str]:
    """Search pipelines for those who ask the cluster by themselves; osparse's own searches do not need them."""
    if not look(api).neural_search or (setting.two_phase is None and setting.hybrid is None):
        return []
    before = _request_processors(api, searcher)
    if setting.hybrid is not None:
        name = fusing_pipeline(index)
        api.put_search_pipeline(name, fusing_body(searcher.deployment.bundle, before, setting.hybrid))
        return [f"search pipeline {name} fuses as chosen"]
    if setting.two_phase is None or searcher.deployment.search_pipeline is None:
        return []
    name = f"{searcher.deployment.search_pipeline.removesuffix('-2p')}-tuned"
    processors = [*before, two_phase_processor(setting.two_phase)]
    body = render("search_tuned_two_phase", bundle=searcher.deployment.bundle, request_processors=processors)
    api.put_search_pipeline(name, body)
    api.put_index_settings(concrete, {"index.search.default_pipeline": name})
    return [f"search pipeline {name} is the default of {concrete}"]


def _request_processors(api: ClusterApi, searcher: Searcher) -> list[dict[str, Any]]:
    """Those of the deployed pipeline that name the tokenizer model, without its two phases."""
    name = searcher.deployment.search_pipeline
    body = (api.get_search_pipeline(name) if name is not None else None) or {}
    found = body.get("request_processors", [])
    return [processor for processor in found if "neural_sparse_two_phase_processor" not in processor]


def two_phase_processor(choice: TwoPhase) -> dict[str, Any]:
    """The request processor that does the same in the cluster."""
    return dict(render("processor_two_phase", **asdict(choice)))


def fusing_body(bundle: str, before: list[dict[str, Any]], choice: Hybrid) -> dict[str, Any]:
    """The search pipeline of hybrid queries with the chosen fusion; BM25 is the first of the two queries."""
    weights = [round(1 - choice.weight, 6), round(choice.weight, 6)]
    common = {"bundle": bundle, "request_processors": before, "weights": weights}
    if choice.normalisation == "rrf":
        return dict(render("search_tuned_rrf", **common, rank_constant=choice.rank_constant))
    technique = {"normalisation": choice.normalisation, "combination": choice.combination}
    return dict(render("search_tuned_normalise", **common, **technique))
