"""Read a deployment back from the cluster: what serves under a name, and the query encoder that belongs to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from osparse.contracts.deployment import Deployment
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.client import Cluster
from osparse.deployer.load.bundle_store import fetch_part
from osparse.encoders.onnx_encoder import open_query_encoder
from osparse.errors import ClusterError
from osparse.formula.query_encoder import QueryEncoder


def read_deployment(cluster: Cluster, index: str) -> Deployment:
    """What serves under an index name or alias.

    Raises:
        ClusterError: there is no such index, it is an alias of several, osparse did not make it, or its vector field
            is hidden from these credentials.
    """
    found = ClusterApi(cluster).get_mapping(index)
    if not found:
        raise ClusterError(
            f"{cluster.url} has no index {index}; osparse status --cluster {cluster.url} lists what it has; "
            f"make one with: osparse deploy BUNDLE --cluster {cluster.url} --index {index}"
        )
    if len(found) > 1:
        raise ClusterError(f"{index} stands for {len(found)} indices ({', '.join(sorted(found))}); name one of them")
    ((concrete, body),) = found.items()
    deployment = Deployment.from_meta(body.get("mappings", {}).get("_meta", {}), concrete)
    _check_visible(deployment, concrete, body["mappings"].get("properties", {}))
    return deployment


def _check_visible(deployment: Deployment, index: str, properties: Mapping[str, Any]) -> None:
    """Field-level security hides a field in the mapping, in documents and in queries, which then match nothing.

    Raises:
        ClusterError: the mapping lacks the vector field.
    """
    fields = ["text"] if deployment.vector == "semantic" else [view.field.split(".")[0] for view in deployment.views]
    for field in (name for name in fields if name not in properties):
        raise ClusterError(
            f"these credentials do not see the field {field} of {index}, so no search by it would find anything: a "
            "role's field-level security (fls) hides it, or it was removed from the mapping; let the role show that "
            "field, or use other credentials"
        )


def query_encoder(cluster: Cluster, deployment: Deployment) -> QueryEncoder:
    """The deployment's tokenizer and IDF as a query encoder, from the local cache or the cluster; no torch."""
    return open_query_encoder(fetch_part(ClusterApi(cluster), deployment, "tokenizer"))
