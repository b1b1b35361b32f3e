from .checks.emulator import ServerEncoder, ServerTokenizer
from .checks.registry import Check, Subject, result
from .export.formats import Format, Onnx, TorchScript
from .export.torchscript import Graph
from .import_model import Import, import_model
from .imported.local_files import from_files
from .make_bundle import package
from .quantization_table import QuantizationTable, compare_quantizations
from .quantize.choice import Quantization
from .sagemaker.archive import write_sagemaker
from .verify_bundle import Verification, verify

__all__ = [
    "Check",
    "Format",
    "Graph",
    "Import",
    "Onnx",
    "Quantization",
    "QuantizationTable",
    "ServerEncoder",
    "ServerTokenizer",
    "Subject",
    "TorchScript",
    "Verification",
    "compare_quantizations",
    "from_files",
    "import_model",
    "package",
    "result",
    "verify",
    "write_sagemaker",
]
