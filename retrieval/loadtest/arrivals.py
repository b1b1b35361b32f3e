"""When requests are due: a schedule that is fixed before the first of them is sent."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from osparse.errors import InputError

ArrivalKind = Literal["poisson", "constant"]
"""``poisson``: independent users, gaps by an exponential distribution; ``constant``: equal gaps."""


def arrivals(rate: float, seconds: float, kind: ArrivalKind, random: np.random.Generator) -> NDArray[np.float64]:
    """(N,) seconds from the start, ascending, all below ``seconds``; at least one.

    Raises:
        InputError: ``rate`` or ``seconds`` is not above 0, or ``kind`` is not one of the two.
    """
    if not rate > 0:
        raise InputError(f"`rate` must be above 0 requests a second, got {rate:g}")
    if not seconds > 0:
        raise InputError(f"`seconds` must be above 0, got {seconds:g}")
    if kind == "constant":
        return np.arange(max(1, round(rate * seconds))) / rate
    if kind != "poisson":
        raise InputError(f"`arrivals` must be poisson or constant, got {kind!r}")
    expected = rate * seconds
    drawn = int(expected + 6 * np.sqrt(expected) + 10)
    due = np.cumsum(random.exponential(1 / rate, drawn))
    return np.asarray(due[: max(1, int(np.searchsorted(due, seconds)))], dtype=np.float64)
