"""Import ``module:name``: what an entry point and a dotted path of a configuration have in common."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from osparse.errors import InputError


def load_object(path: str, remedy: str) -> Any:
    """The object that ``path`` names; the name may be dotted (``Class.method``).

    ``remedy`` is what the user can do where its module cannot be imported.

    Raises :class:`InputError`: ``path`` is not of that form, its module cannot be imported, or it lacks the name.
    """
    module_name, colon, name = path.partition(":")
    if not colon or not module_name or not name:
        raise InputError(f"{path!r} is not of the form module:name, like my_package.losses:margin")
    try:
        module = importlib.import_module(module_name)
    except ImportError as problem:
        raise InputError(f"{path}: {module_name} cannot be imported: {problem}; {remedy}") from None
    except Exception as problem:
        raise InputError(f"{path}: {module_name} fails on import: {type(problem).__name__}: {problem}") from problem
    value: Any = module
    for part in name.split("."):
        if not hasattr(value, part):
            functions = ", ".join(n for n, _ in inspect.getmembers(module, inspect.isfunction)) or "none"
            raise InputError(f"{path}: {module_name} has no {name}; its functions: {functions}")
        value = getattr(value, part)
    return value
