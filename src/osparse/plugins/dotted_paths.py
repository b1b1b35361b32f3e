"""Code of the user's own, named in a configuration: ``my_package.module:function``."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from osparse.errors import ConfigError
from osparse.io.files import sha256_file


def load_dotted(path: str, what: str) -> Callable[..., Any]:
    """Import ``module:name``, from the installed packages or the working directory.

    Args:
        path: such as ``my_losses:sharp_info_nce``; the name may be dotted (``Class.method``). The working directory is
            searched during this import alone, so a module there imports its neighbours at its top.
        what: the setting it is the value of, for the error.

    Raises:
        ConfigError: it is not of that form, cannot be imported, or is not callable.
    """
    module_name, colon, name = path.partition(":")
    if not colon or not module_name or not name:
        raise ConfigError(what, [f"{path!r} is not of the form module:function, like my_package.losses:margin"])
    try:
        with _working_directory_on_path():
            module = importlib.import_module(module_name)
    except ImportError as problem:
        raise ConfigError(
            what,
            [f"{module_name} cannot be imported: {problem}; install it, or run where {module_name}.py lies"],
        ) from None
    except Exception as problem:
        raise ConfigError(what, [f"{module_name} fails on import: {type(problem).__name__}: {problem}"]) from problem
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            known = ", ".join(n for n, _ in inspect.getmembers(module, inspect.isfunction)) or "none"
            raise ConfigError(what, [f"{module_name} has no {name}; its functions: {known}"])
        found = getattr(found, part)
    if not callable(found):
        raise ConfigError(what, [f"{path} is a {type(found).__name__}, and a function was wanted"])
    made: Callable[..., Any] = found
    return made


@contextmanager
def _working_directory_on_path() -> Iterator[None]:
    """Modules of the working directory can be imported, behind everything installed; afterwards as before."""
    here = str(Path.cwd())
    added = here not in sys.path
    if added:
        sys.path.append(here)
    try:
        yield
    finally:
        if added and here in sys.path:
            sys.path.remove(here)


def source_of(path: str, what: str) -> str:
    """sha256 of the file that ``path`` comes from: part of what a model was made from."""
    module = sys.modules[load_dotted(path, what).__module__]
    file = getattr(module, "__file__", None)
    return sha256_file(Path(file)) if file else f"built into {module.__name__}"
