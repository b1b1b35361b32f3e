from .checks.emulator import ServerEncoder, ServerTokenizer
from .checks.registry import Check, Subject, result
from .export.formats import Format, Onnx, TorchScript
from .export.torchscript import Graph
from .make_bundle import package
from .quantize.choice import Quantization
from .verify_bundle import Verification, verify

__all__ = [
    "Check",
    "Format",
    "Graph",
    "Onnx",
    "Quantization",
    "ServerEncoder",
    "ServerTokenizer",
    "Subject",
    "TorchScript",
    "Verification",
    "package",
    "result",
    "verify",
]
