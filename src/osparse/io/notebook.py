"""Whether this is a notebook, and an output of it that can be changed."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from html import escape
from typing import Any


def in_notebook() -> bool:
    """Whether code runs in a Jupyter kernel; imports nothing."""
    ipython = sys.modules.get("IPython")
    shell: Any = ipython.get_ipython() if ipython is not None else None
    return shell is not None and type(shell).__name__ == "ZMQInteractiveShell"


class Output:
    """One output of the running cell; needs no widgets."""

    def __init__(self) -> None:
        module: Any = importlib.import_module("IPython.display")  # there, since this is a notebook
        self._html: Callable[[str], Any] = module.HTML
        display: Callable[..., Any] = module.display
        self._handle: Any = display(self._html(""), display_id=True)

    def show(self, text: str, share: float | None) -> None:
        """A bar filled to ``share`` (None: no bar) and the text beside it."""
        bar = "" if share is None else f"<progress value='{min(1.0, max(0.0, share)):.4f}' max='1'></progress> "
        self._handle.update(self._html(f"<div>{bar}<code>{escape(text)}</code></div>"))
