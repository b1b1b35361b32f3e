"""What osparse made and no index names any more: pipelines, models and bundle parts of the bundles of given names."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TypeVar

from osparse.contracts.deployment import Deployment
from osparse.deployer import names
from osparse.deployer.cluster.in_use import PipelineKey
from osparse.deployer.mlcommons.api import MLCommons, ServerModel
from osparse.deployer.operate.removal import Removal, stored_bundles

T = TypeVar("T")
BundleKey = tuple[str, str]
"""Name of a bundle and the first 12 digits of its fingerprint: what the names of models and pipelines carry."""


def remove_orphans(work: Removal, bundles: Collection[str], deployments: Collection[Deployment]) -> None:
    """Remove them through ``work``; what something else on the cluster uses is left, with its user.

    Args:
        bundles: Names of bundles; nothing of another name is looked at.
        deployments: Those of every index of the cluster, also of the indices that ``work`` has just removed.
    """
    used = {(d.bundle, d.fingerprint[:12]) for one in deployments if one.mode != "client" for d in one.bundles}
    models, pipelines = _models(work, bundles), _pipelines(work, bundles)
    for made in sorted({*models, *pipelines} - used):
        work.bundle(f"{made[0]}-{made[1]}", pipelines.get(made, []), models.get(made, []))
    fingerprints = {view.fingerprint for deployment in deployments for view in deployment.bundles}
    for fingerprint, record in stored_bundles(work.api).items():
        if fingerprint not in fingerprints and record["bundle"] in bundles:
            work.parts(fingerprint, f"{record['bundle']}-{fingerprint[:12]}")


def remove_empty_groups(work: Removal, bundles: Collection[str] | None, used: Collection[str]) -> None:
    """Remove the model groups of bundles that had models and have none.

    The server counts a group's models for about a minute after the last one is deleted, and refuses until then.

    Args:
        bundles: Names of bundles; None for any. A deploy that registers the first model of a bundle again looks like
            an empty group for a moment.
        used: Names of the bundles that indices of the cluster are deployed with.
    """
    if not work.has_models or work.plan_only:
        return
    ml = MLCommons(work.api.cluster)
    groups = {bundle: i for name, i in ml.used_groups().items() if (bundle := names.bundle_of_group(name))}
    filled = {model.group_id for model in ml.all_models()} if groups else set()
    for bundle, group_id in sorted(groups.items()):
        if bundle in used or group_id in filled or (bundles is not None and bundle not in bundles):
            continue
        name, answer = names.group_of(bundle), ml.delete_group(group_id)
        if answer.status == 200:
            work.removed.append(f"model group {name}")
        elif answer.status != 404:
            work.notes.append(
                f"model group {name} is empty and stays for now: the server still counts its models ({answer.reason}); "
                "run osparse undeploy again in a minute to remove it"
            )


def _models(work: Removal, bundles: Collection[str]) -> dict[BundleKey, list[ServerModel]]:
    """By bundle; a model of such a name in another group is somebody else's."""
    if not work.has_models:
        return {}
    ml = MLCommons(work.api.cluster)
    groups = {bundle: ml.find_group(names.group_of(bundle)) for bundle in bundles}
    found = ((names.bundle_of_model(model.name), model) for model in ml.all_models())
    return _by_bundle((made, model) for made, model in found if made and groups.get(made[0]) == model.group_id)


def _pipelines(work: Removal, bundles: Collection[str]) -> dict[BundleKey, list[PipelineKey]]:
    found = ((names.bundle_of_pipeline(key[1]), key) for key in work.uses.pipelines)
    return _by_bundle((made, key) for made, key in found if made and made[0] in bundles)


def _by_bundle(pairs: Iterable[tuple[BundleKey, T]]) -> dict[BundleKey, list[T]]:
    grouped: dict[BundleKey, list[T]] = {}
    for made, thing in pairs:
        grouped.setdefault(made, []).append(thing)
    return grouped
