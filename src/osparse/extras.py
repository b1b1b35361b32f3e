"""Import a part that only an extra installs, or say the pip command that brings it."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from osparse.errors import MissingExtraError


def check(module: str, extra: str) -> Path:
    """The file of ``module``, not imported; raise :class:`MissingExtraError` with the pip command if it is absent."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise MissingExtraError(
            f"this needs {module}, which is not installed; run: {sys.executable} -m pip install 'osparse[{extra}]'"
        )
    return Path(spec.origin)


def require(module: str, extra: str) -> ModuleType:
    """Import ``module``; raise :class:`MissingExtraError` naming the exact pip command if it is absent."""
    check(module, extra)
    return importlib.import_module(module)
