"""Import a part that only an extra installs, or say the pip command that brings it."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType

from osparse.errors import MissingExtraError


def require(module: str, extra: str) -> ModuleType:
    """Import ``module``; raise :class:`MissingExtraError` naming the exact pip command if it is absent."""
    if importlib.util.find_spec(module) is None:
        raise MissingExtraError(
            f"this needs {module}, which is not installed; run: {sys.executable} -m pip install 'osparse[{extra}]'"
        )
    return importlib.import_module(module)
