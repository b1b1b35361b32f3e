"""Functions of the user, named in a configuration as ``my_package.module:function``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from osparse.errors import ConfigError, InputError
from osparse.io.files import sha256_file
from osparse.plugins.load_object import load_object


def load_dotted(path: str, what: str) -> Callable[..., Any]:
    """Import ``module:name``, from the installed packages or the working directory.

    Args:
        path: such as ``my_losses:sharp_info_nce``; the name may be dotted (``Class.method``). The working directory is
            searched during this import alone, so a module there imports its neighbours at its top.
        what: the setting it is the value of, for the error.

    Raises:
        ConfigError: it is not of that form, cannot be imported, or is not callable.
    """
    try:
        with _working_directory_on_path():
            value = load_object(path, "install its package, or run where its file lies")
    except InputError as problem:
        raise ConfigError(what, [str(problem)]) from problem
    if not callable(value):
        raise ConfigError(what, [f"{path} must be a function, got {type(value).__name__}"])
    function: Callable[..., Any] = value
    return function


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
