"""Limits that a chosen setting must keep: ``p95<=20ms``, ``size<=2GB``."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from osparse.errors import InputError

Quantity = Literal["p95", "size"]
UNITS: dict[str, dict[str, float]] = {
    "p95": {"ms": 1.0, "s": 1000.0},
    "size": {
        "B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
        "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30, "TiB": 2.0**40,
    },
}  # fmt: skip
"""Quantity -> unit -> milliseconds, or bytes."""
_FORM = re.compile(r"\s*([a-z0-9]+)\s*<=\s*([0-9.]+)\s*([A-Za-z]*)\s*")


@dataclass(frozen=True)
class Budget:
    """One limit."""

    quantity: Quantity
    limit: float
    """Milliseconds, or bytes."""
    text: str
    """As it was given."""


def parse_budgets(texts: Sequence[str]) -> list[Budget]:
    """The limits, each quantity once.

    Raises:
        InputError: naming the text that is no limit, and what is wrong with it.
    """
    budgets = [parse_budget(text) for text in texts]
    for number, budget in enumerate(budgets):
        if budget.quantity in [other.quantity for other in budgets[:number]]:
            raise InputError(f"`budget` has two limits for {budget.quantity}; give one of them")
    return budgets


def parse_budget(text: str) -> Budget:
    """Raises :class:`InputError` naming what is wrong with ``text``."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise InputError(f"`budget` must be like p95<=20ms or size<=2GB, got {text!r}")
    name, number, unit = found.groups()
    if name not in UNITS:
        raise InputError(f"`budget` can limit {' and '.join(UNITS)}, got {name!r} in {text!r}")
    units = UNITS[name]
    if unit not in units:
        shown = f"{unit!r}" if unit else "none"
        raise InputError(f"`budget` of {name} needs one of the units {', '.join(units)}, got {shown} in {text!r}")
    try:
        limit = float(number) * units[unit]
    except ValueError:
        limit = math.nan
    if not 0 < limit < math.inf:
        raise InputError(f"`budget` of {name} must be a number above 0, got {number!r} in {text!r}")
    quantity: Quantity = "p95" if name == "p95" else "size"
    return Budget(quantity, limit, text.strip())
