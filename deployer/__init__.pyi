from .adopt.source_index import Adoption
from .cluster.client import Answer, Cluster
from .cluster.serverless import open_cluster
from .health.doctor import doctor
from .health.heal import Healed, heal
from .health.metrics import metrics_text
from .health.status import drift_from, status
from .health.unclaimed import other_problems
from .importing.fetch import from_cluster
from .index.gate import Gate
from .index.layout import Serving
from .load.documents import DeletionRow, DocumentRow, infer_mapping
from .load.load import IndexResult, index_documents, load_rows
from .load.read_deployment import query_encoder, read_deployment
from .node.node import node_down, node_status, node_up
from .operate.deploy import deploy
from .operate.deploy_options import ModelOptions, Upgrade
from .operate.deploy_result import DeployResult
from .operate.rollback import RollbackResult, rollback
from .operate.undeploy import UndeployResult, undeploy
from .remote.connector import connector_example
from .remote.sagemaker import sagemaker_url
from .segments.optimise import Optimised, optimise
from .shards.encode import encode_documents
from .shards.encode_result import EncodeResult
from .sizing.sheet import CapacitySheet
from .sizing.sizing import sizing

__all__ = [
    "Adoption",
    "Answer",
    "CapacitySheet",
    "Cluster",
    "DeletionRow",
    "DeployResult",
    "DocumentRow",
    "EncodeResult",
    "Gate",
    "Healed",
    "IndexResult",
    "ModelOptions",
    "Optimised",
    "RollbackResult",
    "Serving",
    "UndeployResult",
    "Upgrade",
    "connector_example",
    "deploy",
    "doctor",
    "drift_from",
    "encode_documents",
    "from_cluster",
    "heal",
    "index_documents",
    "infer_mapping",
    "load_rows",
    "metrics_text",
    "node_down",
    "node_status",
    "node_up",
    "open_cluster",
    "optimise",
    "other_problems",
    "query_encoder",
    "read_deployment",
    "rollback",
    "sagemaker_url",
    "sizing",
    "status",
    "undeploy",
]
