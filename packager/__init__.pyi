from .checks.emulator import ServerEncoder, ServerTokenizer
from .checks.registry import Check, Subject, result
from .export.formats import Format, Onnx, TorchScript
from .export.torchscript import Graph
from .make_bundle import package
from .quantization_table import QuantizationTable, compare_quantizations
from .quantize.choice import Quantization
from .verify_bundle import Verification, verify

__all__ = [
    "Check",
    "Format",
    "Graph",
    "Onnx",
    "Quantization",
    "QuantizationTable",
    "ServerEncoder",
    "ServerTokenizer",
    "Subject",
    "TorchScript",
    "Verification",
    "compare_quantizations",
    "package",
    "result",
    "verify",
]
