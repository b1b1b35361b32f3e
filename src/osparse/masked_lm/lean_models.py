"""transformers' list of its model classes, made only when a class is asked for that is not listed.

``import transformers`` reads every file of its 400 model packages twice to find the names that each has: half a second.
A model's own package is imported by its path and needs no list.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from importlib.abc import Loader
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

LISTING = "transformers.utils.import_utils"
"""The module that reads the files."""
LISTED = "auto"
"""The one package of ``transformers.models`` whose classes are listed at once."""
Listing = Callable[[Any], dict[str, Any]]


class ShortListing(Loader):
    """Loads :data:`LISTING`, which then lists one package of ``transformers.models`` until :meth:`grow` is called."""

    def __init__(self) -> None:
        self.module: Any = None
        self.whole: Listing | None = None

    def spec(self, path: Any) -> ModuleSpec | None:
        """The spec of :data:`LISTING`, with this as its loader."""
        spec = PathFinder.find_spec(LISTING, path)
        if spec is None or spec.loader is None:
            return spec
        self._real = spec.loader
        spec.loader = self
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._real.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._real.exec_module(module)
        self.module = module
        self.whole = whole = self.module.create_import_structure_from_path

        def short(path: Any) -> dict[str, Any]:
            folder = Path(path) if Path(path).is_dir() else Path(path).parent
            return {LISTED: whole(str(folder / LISTED))} if folder.name == "models" else whole(path)

        self.module.create_import_structure_from_path = short

    def grow(self) -> None:
        """Let ``transformers`` and ``transformers.models`` list every class once one is asked for that is not there."""
        self.module.create_import_structure_from_path = self.whole
        self.module.define_import_structure.cache_clear()
        for name, prefix in (("transformers", "models"), ("transformers.models", None)):
            sys.modules[name].__class__ = _growing(self.module, prefix)


def _growing(listing: Any, prefix: str | None) -> type[ModuleType]:
    """The class of a lazy module that lists the model classes when it is asked for a name that it does not have."""
    lazy: Any = listing._LazyModule

    class Growing(lazy):  # type: ignore[misc]  # a class of transformers, which is not annotated
        def __getattr__(self, name: str) -> Any:
            try:
                return super().__getattr__(name)
            except AttributeError:
                submodule = name.startswith("__") or importlib.util.find_spec(f"{self.__name__}.{name}") is not None
                if submodule or "listed" in vars(self):
                    raise
            self.listed = True
            models = Path(self.__path__[0], *([prefix] if prefix else []))
            every = lazy(self.__name__, self.__file__, listing.define_import_structure(models, prefix))
            self._modules |= every._modules
            self._class_to_module |= every._class_to_module
            self._object_missing_backend |= every._object_missing_backend
            this: Any = self  # __all__ has no type in a class
            this.__all__ = sorted({*this.__all__, *every.__all__})
            return super().__getattr__(name)

    return Growing
