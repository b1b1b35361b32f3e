from .checks.emulator import ServerEncoder, ServerTokenizer
from .checks.registry import Check, Subject, result
from .export.formats import Format, Onnx, Quantization, TorchScript
from .export.torchscript import Graph
from .import_model import Import, import_model
from .imported.local_files import from_files
from .make_bundle import package
from .verify_bundle import Verification, verify

__all__ = [
    "Check",
    "Format",
    "Graph",
    "Import",
    "Onnx",
    "Quantization",
    "ServerEncoder",
    "ServerTokenizer",
    "Subject",
    "TorchScript",
    "Verification",
    "from_files",
    "import_model",
    "package",
    "result",
    "verify",
]
