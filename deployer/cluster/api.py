"""The REST calls on indices, documents, pipelines and the cluster itself: one method each, no decisions."""

from __future__ import annotations

from osparse.deployer.cluster.rest.answers import ndjson
from osparse.deployer.cluster.rest.documents import NDJSON, DocumentCalls
from osparse.deployer.cluster.rest.nodes import NodeCalls
from osparse.deployer.cluster.rest.pipelines import PipelineCalls

__all__ = ["NDJSON", "ClusterApi", "ndjson"]


class ClusterApi(NodeCalls, DocumentCalls, PipelineCalls):
    """The calls every OpenSearch has; errors are those of :meth:`Cluster.request`."""
