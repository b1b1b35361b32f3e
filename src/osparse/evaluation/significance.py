"""Significance: several tests at once, and wins against losses."""

from __future__ import annotations

import math
from collections.abc import Sequence

Z95 = 1.959963984540054
"""Standard normal quantile of a two-sided 95 % interval."""


def holm(p_values: Sequence[float]) -> list[float]:
    """P values adjusted for several tests, in the order given; compare each with the level itself, such as 0.05.

    Source: Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 6 (1979):
    the k-th smallest of m is multiplied by m - k + 1, is never below a smaller one's and at most 1.
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def sign_test(wins: int, losses: int) -> float:
    """Two-sided p of the sign test, exact: ties are left out, and under the null hypothesis either side wins by a coin.

    Twice the binomial probability of the rarer outcome coming at most as often, at most 1; 1 without wins and losses.
    """
    total, rarer = wins + losses, min(wins, losses)
    whole = math.lgamma(total + 1) - total * math.log(2)
    tail = math.fsum(
        math.exp(whole - math.lgamma(count + 1) - math.lgamma(total - count + 1)) for count in range(rarer + 1)
    )
    return min(1.0, 2 * tail)


def share_interval(successes: int, total: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson, J. of the American Statistical Association 22, 1927); 0 to 1 of nothing."""
    if not total:
        return 0.0, 1.0
    share, spread = successes / total, Z95**2 / total
    centre = (share + spread / 2) / (1 + spread)
    half = Z95 / (1 + spread) * math.sqrt(share * (1 - share) / total + spread / (4 * total))
    return max(0.0, centre - half), min(1.0, centre + half)
