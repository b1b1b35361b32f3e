"""What osparse made and no index names any more: pipelines, models and bundle parts of the bundles of given names."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TypeVar

from osparse.contracts.deployment import Deployment
from osparse.deployer import names
from osparse.deployer.cluster.in_use import PipelineKey
from osparse.deployer.mlcommons.api import MLCommons, Model
from osparse.deployer.operate.removal import Removal, stored_bundles

T = TypeVar("T")
Made = tuple[str, str]
"""Name of a bundle and the first 12 digits of its fingerprint: what the names of models and pipelines carry."""


def remove_orphans(work: Removal, bundles: Collection[str], deployments: Collection[Deployment]) -> None:
    """Remove them through ``work``; what something else on the cluster uses is left, with its user.

    Args:
        bundles: Names of bundles; nothing of another name is looked at.
        deployments: Those of every index of the cluster, also of the indices that ``work`` has just removed.
    """
    used = {(d.bundle, d.fingerprint[:12]) for d in deployments if d.mode == "ml-commons"}
    models, pipelines = _models(work, bundles), _pipelines(work, bundles)
    for made in sorted({*models, *pipelines} - used):
        work.bundle(f"bundle {made[0]}-{made[1]}", pipelines.get(made, []), models.get(made, []))
    fingerprints = {deployment.fingerprint for deployment in deployments}
    for fingerprint, record in stored_bundles(work.api).items():
        if fingerprint not in fingerprints and record["bundle"] in bundles:
            work.parts(fingerprint, f"{record['bundle']}-{fingerprint[:12]}")


def _models(work: Removal, bundles: Collection[str]) -> dict[Made, list[Model]]:
    """By bundle; a model of such a name in another group is somebody else's."""
    if not work.has_models:
        return {}
    ml = MLCommons(work.api.cluster)
    groups = {bundle: ml.find_group(names.group_of(bundle)) for bundle in bundles}
    found = ((names.bundle_of_model(model.name), model) for model in ml.all_models())
    return _by_bundle((made, model) for made, model in found if made and groups.get(made[0]) == model.group_id)


def _pipelines(work: Removal, bundles: Collection[str]) -> dict[Made, list[PipelineKey]]:
    found = ((names.bundle_of_pipeline(key[1]), key) for key in work.uses.pipelines)
    return _by_bundle((made, key) for made, key in found if made and made[0] in bundles)


def _by_bundle(pairs: Iterable[tuple[Made, T]]) -> dict[Made, list[T]]:
    grouped: dict[Made, list[T]] = {}
    for made, thing in pairs:
        grouped.setdefault(made, []).append(thing)
    return grouped
