"""transformers' model classes without what no masked-LM needs: most of the seconds of their import.

A model class imports torch's compiler (``torch._dynamo``, with sympy and triton), ``torch.distributed.tensor`` and
scipy: for compiled attention masks, for tensor parallelism and for losses of object detection. Here a name of those
modules is bound to a placeholder that imports the real one when it is called or read; a decorator of torch.compile
leaves its function as it is; transformers is told that torch was built without torch.distributed, and lists one of its
model packages (``lean_models``). Therefore a process that did this cannot load a model in parallel over several
devices, and only a process that ends with its command does it: :func:`allow` is called by the command line, never by
the library.
"""

from __future__ import annotations

import gc
import importlib
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from osparse.masked_lm.lean_models import LISTING, ShortListing
from osparse.masked_lm.torch_libraries import load_torch_libraries

DEFERRED = ("torch._dynamo", "torch._inductor", "torch.nn.attention.flex_attention", "accelerate", "scipy")
"""Modules whose import is put off until something of them is used."""
_allowed = False

log = logging.getLogger("osparse.masked_lm.lean_imports")


def allow() -> None:
    """Says that this process ends with its command."""
    global _allowed
    _allowed = True


def import_model_classes() -> None:
    """Import what every masked-LM of transformers needs: leanly after :func:`allow`, as ever without it.

    Where torch or transformers was imported before, it stays as it is. The modules of :data:`DEFERRED` can be imported
    afterwards.
    """
    if not _allowed or "transformers" in sys.modules:
        return
    load_torch_libraries()
    finder = _Finder([name for name in DEFERRED if name not in sys.modules])
    try:
        with finder:
            import transformers  # noqa: F401  # it needs no torch yet, whose libraries are loaded meanwhile
        import torch

        torch.distributed.is_available = lambda: False
        with finder:
            from transformers import AutoModelForMaskedLM  # noqa: F401
            from transformers.models.bert.modeling_bert import BertForMaskedLM  # noqa: F401
        finder.listing.grow()
    except Exception:  # a transformers that runs something deferred: it is imported again, as ever
        log.debug("transformers could not be imported leanly", exc_info=True)
        _forget_transformers()
    gc.freeze()  # what was imported stays: no later collection visits it, nor does the end of the process


def _forget_transformers() -> None:
    """Make the next import of transformers the usual one."""
    import torch

    torch.distributed.is_available = lambda: hasattr(torch._C, "_c10d_init")
    for name in [name for name in sys.modules if name.partition(".")[0] == "transformers"]:
        del sys.modules[name]


@contextmanager
def lean_loading() -> Iterator[None]:
    """Leave what a model's tensors on the meta device "hold" unset meanwhile, after :func:`allow`.

    transformers builds a model there before it reads the weights; torch's Python code for the meta device imports
    sympy and the compiler to fill embeddings that hold nothing, and to find the size of a buffer.
    """
    if not _allowed:
        yield
        return
    import torch

    reset, empty_like = torch.nn.Embedding.reset_parameters, torch.empty_like

    def reset_unless_meta(embedding: torch.nn.Embedding) -> None:
        if not embedding.weight.is_meta:
            reset(embedding)

    def empty(tensor: torch.Tensor, **options: Any) -> torch.Tensor:
        if not tensor.is_meta or not tensor.is_contiguous():
            return empty_like(tensor, **options)
        return torch.empty(tensor.shape, **{"dtype": tensor.dtype, "device": tensor.device, **options})

    torch.nn.Embedding.reset_parameters, torch.empty_like = reset_unless_meta, empty  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.nn.Embedding.reset_parameters, torch.empty_like = reset, empty_like  # type: ignore[method-assign]


class _Placeholder(type):
    """A name of a deferred module: a class without instances, so that it can stand in annotations and isinstance."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if any(isinstance(finder, _Finder) for finder in sys.meta_path):  # while importing: a decorator
            return args[0] if args and callable(args[0]) else lambda function: function
        return _real(cls)(*args, **kwargs)

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(_real(cls), name)

    def __instancecheck__(cls, instance: Any) -> bool:
        return cls.__module__ in sys.modules and isinstance(instance, _real(cls))


def _real(placeholder: type) -> Any:
    return getattr(importlib.import_module(placeholder.__module__), placeholder.__name__)


class _Finder(MetaPathFinder, Loader):
    """Makes a module of placeholders for each of some names and for all below them."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.made: dict[str, ModuleType] = {}
        self.listing = ShortListing()

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname == LISTING:
            return self.listing.spec(path)
        if any(fullname == name or fullname.startswith(f"{name}.") for name in self.names):
            return ModuleSpec(fullname, self, is_package=True)
        return None

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__

        def attribute(wanted: str) -> Any:
            if wanted.startswith("__"):
                raise AttributeError(wanted)
            return _Placeholder(wanted, (), {"__module__": name})

        module.__dict__["__getattr__"] = attribute
        self.made[name] = module

    def __enter__(self) -> None:
        sys.meta_path.insert(0, self)

    def __exit__(self, *problem: object) -> None:
        """Make the next import of each module the real one."""
        sys.meta_path.remove(self)
        for name, module in self.made.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
            parent, _, last = name.rpartition(".")
            if vars(sys.modules.get(parent, module)).get(last) is module:
                delattr(sys.modules[parent], last)
