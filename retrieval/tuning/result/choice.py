"""Which of the measured settings is chosen, and why: better, equal at less cost, or not better than chance.

The choice looks at the validation queries and the measured costs only; the test queries say how sure it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from osparse.evaluation.exact_search import paired_randomisation_test
from osparse.evaluation.significance import holm
from osparse.retrieval.serving.settings import Setting
from osparse.retrieval.tuning.budgets import Budget

TIE = 0.002
"""nDCG@10 on validation below which two settings are taken as equal; the cheaper one is chosen then."""
MARGIN = 0.005
"""nDCG@10 that an equal setting may lose on test at most, by the lower end of the 95 % interval of the difference."""
LEVEL = 0.05
"""Of the tests."""
SMALLER, FASTER = 2 / 3, 0.9
"""Of the present index's bytes or p95: from where on an equal setting is worth a change."""
SAME_P95 = 1.1
"""Times the present p95 that is taken as the same, where no budget is given."""


@dataclass(frozen=True)
class Point:
    """A setting with everything that was measured of it."""

    setting: Setting
    validation: float
    """nDCG@10."""
    test: float
    by_direction: dict[str, float]
    """Direction -> nDCG@10 on test."""
    gain: float
    """Test nDCG@10 minus that of the present setting."""
    low: float
    """Lower end of the 95 % interval of the gain."""
    p: float
    """Two-sided, paired randomisation test against the present setting on the test queries; 1 for that itself."""
    p_adjusted: float
    """By Holm's correction over all settings in the table."""
    p50: float
    """Milliseconds of one search at a time, measured."""
    p95: float
    bytes: int
    """Of the index, measured in one segment."""
    estimated_bytes: int
    """From the number of postings."""
    flops: float
    """Multiplications of one search divided by the number of documents."""
    postings: int
    """Of the index."""
    recall: float | None = None
    """Recall@10 against exact search, of an approximate field."""


def p_values(gains: Sequence[Sequence[float]]) -> list[tuple[float, float]]:
    """(p, p by Holm's correction) of each list of per-query differences."""
    plain = [paired_randomisation_test(gain, [0.0] * len(gain)) for gain in gains]
    return list(zip(plain, holm(plain), strict=True))


def keeps(point: Point, budgets: Sequence[Budget], present: Point) -> bool:
    """Whether the point is within every budget; what has none may not be above the present setting's."""
    limits = {"p95": present.p95 * SAME_P95, "size": float(present.bytes)}
    limits |= {budget.quantity: budget.limit for budget in budgets}
    return point.p95 <= limits["p95"] and point.bytes <= limits["size"]


def choose(points: Sequence[Point], budgets: Sequence[Budget]) -> Point:
    """The best on validation within the budgets; of those about equal, the smallest index, then the fastest.

    The first point is the present setting; it is chosen where none keeps the budgets.
    """
    within = [point for point in points if keeps(point, budgets, points[0])]
    if not within:
        return points[0]
    best = max(point.validation for point in within)
    about_equal = [point for point in within if point.validation >= best - TIE]
    return min(about_equal, key=lambda point: (point.bytes, point.p95, -point.validation))


def is_better(chosen: Point) -> bool:
    return chosen.gain > 0 and chosen.p_adjusted < LEVEL


def is_equal_and_cheaper(chosen: Point, present: Point) -> bool:
    cheaper = chosen.bytes <= SMALLER * present.bytes or chosen.p95 <= FASTER * present.p95
    return cheaper and chosen.low >= -MARGIN


def verdict(chosen: Point, present: Point, budgets: Sequence[Budget]) -> tuple[bool, str]:
    """(whether the chosen setting should take the place of the present one, why) in one sentence."""
    if chosen.setting == present.setting:
        if not keeps(present, budgets, present):
            return False, "no setting keeps the budgets; the present setting stays"
        return False, "the present setting is the best of those within the budgets; nothing needs to change"
    figures = f"{chosen.gain:+.4f} nDCG@10 on test (p {chosen.p_adjusted:.4f} by Holm's correction)"
    costs = f"p95 {chosen.p95:.1f} against {present.p95:.1f} ms, index {_share(chosen, present)}"
    if is_better(chosen):
        return True, f"better: {figures}; {costs}"
    if is_equal_and_cheaper(chosen, present):
        return True, f"equal at less cost: {figures}, at worst {chosen.low:+.4f}; {costs}"
    if not keeps(present, budgets, present) and chosen.low >= -MARGIN:
        return True, f"keeps the budgets, which the present setting does not: {figures}; {costs}"
    if not keeps(present, budgets, present):
        return True, f"keeps the budgets, which the present setting does not, and loses quality: {figures}; {costs}"
    return False, f"no setting is better than chance: the best on validation has {figures}; {costs}"


def front(points: Sequence[Point]) -> list[Point]:
    """The points that no other beats in validation nDCG@10, p95 and bytes together, by rising nDCG@10."""
    chosen = [point for point in points if not any(_beats(other, point) for other in points)]
    return sorted(chosen, key=lambda point: (point.validation, -point.p95, -point.bytes))


def _beats(first: Point, second: Point) -> bool:
    a = (-first.validation, first.p95, first.bytes)
    b = (-second.validation, second.p95, second.bytes)
    return all(x <= y for x, y in zip(a, b, strict=True)) and a != b


def _share(chosen: Point, present: Point) -> str:
    return f"{chosen.bytes / present.bytes:.0%} of the present one" if present.bytes else "of unknown size"
