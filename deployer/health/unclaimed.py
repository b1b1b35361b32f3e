"""What is wrong on a cluster and belongs to no deployment that can be shown."""

from __future__ import annotations

import logging
from collections.abc import Collection

from osparse.deployer import names
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.client import Cluster
from osparse.deployer.index.generations import deployments_of
from osparse.deployer.mlcommons.api import MLCommons
from osparse.errors import AccessError

log = logging.getLogger("osparse.deployer.health.unclaimed")


def other_problems(cluster: Cluster) -> list[str]:
    """A sentence for each index whose ``_meta`` cannot be read, and each failed model that no index uses."""
    unreadable: dict[str, str] = {}
    made = deployments_of(ClusterApi(cluster).all_meta(), unreadable).values()
    used = {(view.bundle, view.fingerprint[:12]) for deployment in made for view in deployment.bundles}
    return [*unreadable.values(), *_failed_models(cluster, used)]


def _failed_models(cluster: Cluster, used: Collection[tuple[str, str]]) -> list[str]:
    """Of a deploy that ended before it made an index."""
    try:
        models = MLCommons(cluster).all_models()
    except AccessError as problem:
        log.info("models that no index uses are not looked for: %s", problem)
        return []
    return [
        f"model {model.name} (id {model.id}) is {model.state} and no index uses it; resume with: osparse deploy BUNDLE "
        "--index NAME"
        for model in models
        if model.state == "DEPLOY_FAILED" and (bundle := names.bundle_of_model(model.name)) and bundle not in used
    ]
