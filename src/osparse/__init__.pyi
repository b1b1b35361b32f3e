from .contracts.bundle import Bundle
from .contracts.dataset import Dataset
from .contracts.model import Model
from .corpus import build_dataset, mine, score
from .deployer import deploy, index_documents, open_cluster
from .encoders.torch_encoder import TextEncoder
from .evaluation.measures import open_benchmark
from .io.settings import read_settings
from .packager import package
from .retrieval import compare, evaluate, explain, search
from .trainer import train

__version__: str

__all__ = [
    "__version__",
    "Bundle",
    "Dataset",
    "Model",
    "TextEncoder",
    "build_dataset",
    "compare",
    "deploy",
    "evaluate",
    "explain",
    "index_documents",
    "mine",
    "open_benchmark",
    "open_cluster",
    "package",
    "read_settings",
    "score",
    "search",
    "train",
]
