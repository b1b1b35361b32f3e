"""Folders of the user's own that osparse keeps things in, by the XDG Base Directory Specification."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

_DEFAULTS = {"cache": ".cache", "config": ".config", "data": ".local/share"}


def user_folder(kind: Literal["cache", "config", "data"]) -> Path:
    """``$XDG_CACHE_HOME/osparse`` and so on, or the same below ``~``; not made.

    A variable that is empty or not an absolute path is ignored, as the specification has it.
    """
    base = Path(os.environ.get(f"XDG_{kind.upper()}_HOME", ""))
    return (base if base.is_absolute() else Path.home() / _DEFAULTS[kind]) / "osparse"
