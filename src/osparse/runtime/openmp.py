"""How the threads of torch wait for each other. Imports nothing heavy, since it must run before torch is imported."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")
"""Variables by which a user decides how OpenMP's threads wait."""


def wait_without_spinning(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let the OpenMP threads of this process and its children sleep while they wait, unless the user chose a way.

    By default they spin. Where another process takes one of the cores, the thread that has the other core then burns
    its share while the work it waits for has none. OpenMP reads the variable once, when torch is imported.
    """
    if not any(name in environment for name in WAITING):
        environment["OMP_WAIT_POLICY"] = "PASSIVE"
