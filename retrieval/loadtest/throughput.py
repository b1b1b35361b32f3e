"""The highest rate of requests at which p99 stays within a bound, found by halving the interval that holds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from osparse.retrieval.loadtest.open_loop import Samples

STEPS = 6
"""The interval between 0 and the capacity becomes 2^-6 of it."""
LATE = 1.05
"""The last answer may come so much later than the schedule ends; after that a queue was growing."""
ENOUGH = 200
"""Requests of one step, at least; p99 needs 100."""
LONGEST = 10.0
"""Seconds of one step, at most."""


def within(samples: Samples, seconds: float, bound: float) -> bool:
    """Whether all requests of ``seconds`` were answered well and in time, and p99 is at most ``bound`` milliseconds."""
    p99 = samples.percentile(99)
    answered_all = not samples.failed and not len(samples.waiting)
    return answered_all and p99 is not None and p99 <= bound and samples.seconds <= LATE * seconds + bound / 1000


def rates_within(
    capacities: Mapping[str, float], bound: float, measure: Callable[[str, float, float], Samples]
) -> dict[str, float]:
    """System -> the highest rate tried that is within the bound, 0 where none was; the systems take turns.

    Args:
        capacities: System -> answers a second, above which no rate can be kept up.
        measure: (system, rate, seconds) -> what was seen.
    """
    good, bad = dict.fromkeys(capacities, 0.0), dict(capacities)
    for _ in range(STEPS):
        for system in capacities:
            rate = (good[system] + bad[system]) / 2
            seconds = min(LONGEST, max(1.0, ENOUGH / rate))
            samples = measure(system, rate, seconds)
            (good if within(samples, seconds, bound) else bad)[system] = rate
    return good
