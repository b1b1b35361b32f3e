"""Whether the judgements cover one system's first documents better than another's."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

PLACES = 10
JUDGED_GAP = 0.05
"""Difference of two systems' shares from which a note warns."""

JudgedPlaces = Mapping[str, tuple[bool, ...]]
"""Query id -> whether each of the first :data:`PLACES` documents was judged."""


def shares(first: JudgedPlaces, second: JudgedPlaces) -> tuple[float, float]:
    """Judged share of both systems' first documents: as many of each, in the queries that both answered.

    In each query the shorter ranking decides how many documents of both count. A system that returns few documents, all
    of which share a rare word with the query, would otherwise look better judged than one that fills ten places.
    """
    depths = {query: min(len(places), len(second.get(query, ()))) for query, places in first.items()}
    documents = sum(depths.values())
    if not documents:
        return 0.0, 0.0
    one, other = (sum(sum(part[query][:k]) for query, k in depths.items() if k) for part in (first, second))
    return one / documents, other / documents


def judged_share_notes(direction: str, systems: Mapping[str, JudgedPlaces]) -> list[str]:
    """A warning about the two systems whose shares differ most, if they differ by :data:`JUDGED_GAP` or more."""
    gaps = []
    for pair in combinations(systems, 2):
        both = zip(shares(*(systems[name] for name in pair)), pair, strict=True)
        (low, least), (high, most) = sorted(both, key=lambda share: share[0])
        gaps.append((high - low, low, least, high, most))
    gap, low, least, high, most = max(gaps, key=lambda pair: pair[0], default=(0.0, 0.0, "", 0.0, ""))
    if gap < JUDGED_GAP:
        return []
    return [
        f"{direction}: the judgements cover {high:.0%} of the first documents of {most} and {low:.0%} of those of "
        f"{least} (as many of each in a query, at most ten); unjudged documents count as not relevant, so the figures "
        f"may be unfair to {least}: compare the condensed nDCG@10, or judge more (osparse judge pool)"
    ]
