"""bundle in, a served index out; and the embedded node.

    cluster = open_cluster("http://127.0.0.1:9210")
    deploy(Bundle.open("bundle"), cluster, "products")
    index_documents(cluster, "products", [Path("documents.jsonl")])

The names in ``__all__`` are the room's public face; each is imported when it is first used, so that the embedded node
needs no HTTP client and the command line starts fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from osparse.deployer.connection import Answer, Cluster, open_cluster
    from osparse.deployer.deploying import DeployResult, deploy
    from osparse.deployer.diagnosis import doctor
    from osparse.deployer.further_problems import other_problems
    from osparse.deployer.healing import Healed, heal
    from osparse.deployer.index import IndexResult, index_documents, load_rows
    from osparse.deployer.node import node_down, node_status, node_up
    from osparse.deployer.readiness import drift_from, status
    from osparse.deployer.reading import query_encoder, read_deployment
    from osparse.deployer.rolling_back import RollbackResult, rollback
    from osparse.deployer.serving import Serving
    from osparse.deployer.switching import Gate
    from osparse.deployer.undeploying import UndeployResult, undeploy

__all__ = [
    "Answer",
    "Cluster",
    "DeployResult",
    "Gate",
    "Healed",
    "IndexResult",
    "RollbackResult",
    "Serving",
    "UndeployResult",
    "deploy",
    "doctor",
    "drift_from",
    "other_problems",
    "heal",
    "index_documents",
    "load_rows",
    "node_down",
    "node_status",
    "node_up",
    "open_cluster",
    "query_encoder",
    "read_deployment",
    "rollback",
    "status",
    "undeploy",
]

_HOME = {
    "Answer": "connection",
    "Cluster": "connection",
    "DeployResult": "deploying",
    "Gate": "switching",
    "Healed": "healing",
    "drift_from": "readiness",
    "other_problems": "further_problems",
    "heal": "healing",
    "RollbackResult": "rolling_back",
    "Serving": "serving",
    "UndeployResult": "undeploying",
    "rollback": "rolling_back",
    "undeploy": "undeploying",
    "IndexResult": "index",
    "deploy": "deploying",
    "doctor": "diagnosis",
    "index_documents": "index",
    "load_rows": "index",
    "node_down": "node",
    "node_status": "node",
    "node_up": "node",
    "open_cluster": "connection",
    "query_encoder": "reading",
    "read_deployment": "reading",
    "status": "readiness",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
