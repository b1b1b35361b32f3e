"""Models that a deploy left behind before it came to make an index: no deployment shows them."""

from __future__ import annotations

import logging

from osparse.deployer import names
from osparse.deployer.cluster_api import ClusterApi
from osparse.deployer.connection import Cluster
from osparse.deployer.generations import deployments_of
from osparse.deployer.ml_commons import MLCommons
from osparse.errors import AccessError

log = logging.getLogger("osparse.deployer.unfinished")


def failed_models(cluster: Cluster) -> list[str]:
    """One sentence for each model osparse made that failed to deploy and that no index uses."""
    made = deployments_of(ClusterApi(cluster).all_meta()).values()
    used = {(deployment.bundle, deployment.fingerprint[:12]) for deployment in made}
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
