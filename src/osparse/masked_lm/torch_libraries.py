"""torch's libraries, loaded on a thread of its own while Python imports something else.

``import torch`` loads 1 GB of libraries with Python's lock held. A call of the dynamic linker through ctypes leaves the
lock alone.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from pathlib import Path
from threading import Thread

LIBRARIES = {"libtorch_global_deps.so": getattr(os, "RTLD_GLOBAL", 0), "libtorch.so": 0}
"""Library -> its flags beside RTLD_LAZY, in the order in which ``import torch`` loads them; none calls Python."""


def load_torch_libraries() -> None:
    """Begin to load them; one that cannot be loaded so is left to ``import torch``."""
    spec = None if "torch" in sys.modules else importlib.util.find_spec("torch")
    folder = Path(str(spec.origin)).parent / "lib" if spec is not None else None
    if sys.platform == "linux" and folder is not None and all((folder / name).is_file() for name in LIBRARIES):
        Thread(target=_load, args=(folder,), name="osparse-libtorch", daemon=True).start()


def _load(folder: Path) -> None:
    try:
        dlopen = ctypes.CDLL(None).dlopen
    except (OSError, AttributeError):  # a C library that has it elsewhere
        return
    dlopen.restype, dlopen.argtypes = ctypes.c_void_p, (ctypes.c_char_p, ctypes.c_int)
    for name, flags in LIBRARIES.items():
        dlopen(os.fsencode(folder / name), os.RTLD_LAZY | flags)
