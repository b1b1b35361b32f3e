"""The settings that are tried, as data: one list for each part of a setting, around the setting in use."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

from osparse.retrieval.serving.settings import (
    Combination,
    Feedback,
    Hybrid,
    Normalisation,
    PruneKind,
    Pruning,
    QueryWeights,
    Seismic,
    Setting,
    TwoPhase,
)

POWERS = (0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0)
DROP_RATIOS = (0.0, 0.1, 0.2, 0.3, 0.4)
TOPS = (3, 5, 8, 12)
WEIGHTS = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Of the sparse search."""
RANK_CONSTANTS = (5, 10, 20, 60)
PRUNINGS: dict[PruneKind, tuple[float, ...]] = {
    "max_ratio": (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4),
    "top_k": (24, 32, 48, 64, 96, 128),
    "alpha_mass": (0.6, 0.7, 0.8, 0.9, 0.95),
}


@dataclass(frozen=True)
class Abilities:
    """What can be tuned on this cluster and field."""

    simulated: bool
    """Scores are computed from stored weights."""
    hybrid: bool
    seismic: bool
    prunable: bool
    """A pruned index can be made."""


def stages(base: Setting, abilities: Abilities) -> dict[str, list[Setting]]:
    """Part of a setting -> the settings that differ from ``base`` in it."""
    listed = {"query weights": [replace(base, query=choice) for choice in query_weights()]}
    if abilities.simulated and abilities.prunable:
        listed["pruning"] = [replace(base, pruning=choice) for choice in pruning()]
    if abilities.seismic:
        listed["SEISMIC"] = [replace(base, seismic=choice) for choice in seismic()]
    else:
        plain = replace(base, feedback=None, hybrid=None)
        listed["two-phase"] = [replace(plain, two_phase=choice) for choice in two_phase()]
    without = replace(base, two_phase=None)
    listed["feedback"] = [replace(without, feedback=choice) for choice in feedback()]
    if abilities.hybrid:
        listed["hybrid"] = [replace(without, hybrid=choice) for choice in hybrid()]
    return {part: [setting for setting in settings if setting != base] for part, settings in listed.items()}


def query_weights() -> list[QueryWeights]:
    grid = [QueryWeights(power, ratio) for power, ratio in product(POWERS, DROP_RATIOS)]
    return [*grid, *(QueryWeights(top=top) for top in TOPS)]


def two_phase() -> list[TwoPhase]:
    return [TwoPhase(ratio, rate) for ratio, rate in product((0.2, 0.3, 0.4, 0.5, 0.6), (2.0, 5.0, 10.0))]


def feedback() -> list[Feedback]:
    grid = product((1, 3, 5, 10), (8, 24), (0.1, 0.2, 0.4), (0, 100))
    return [Feedback(*choice) for choice in grid]


def hybrid() -> list[Hybrid]:
    scores: tuple[Normalisation, ...] = ("min_max", "l2", "z_score")
    means: tuple[Combination, ...] = ("arithmetic_mean", "geometric_mean", "harmonic_mean")
    fused = [Hybrid(score, mean, weight) for score, mean, weight in product(scores, means, WEIGHTS)]
    ranks = [Hybrid("rrf", weight=w, rank_constant=c) for c, w in product(RANK_CONSTANTS, (0.5, 0.7, 0.9))]
    return [*fused, *ranks]


def seismic() -> list[Seismic]:
    return [Seismic(*choice) for choice in product((3, 5, 10, 20, 50), (0.6, 0.8, 1.0, 1.5, 2.0))]


def pruning() -> list[Pruning]:
    return [Pruning(kind, value) for kind, levels in PRUNINGS.items() for value in levels]


def combined(base: Setting, survivors: dict[str, list[Setting]]) -> list[Setting]:
    """Every combination of the parts that survived, those of ``base`` included, where they go together."""
    queries = dict.fromkeys(s.query for s in (base, *survivors.get("query weights", [])))
    prunings = dict.fromkeys(s.pruning for s in (base, *survivors.get("pruning", [])))
    phases = dict.fromkeys(s.two_phase for s in (base, *survivors.get("two-phase", [])))
    feedbacks = dict.fromkeys(s.feedback for s in (base, *survivors.get("feedback", [])))
    hybrids = dict.fromkeys(s.hybrid for s in (base, *survivors.get("hybrid", [])))
    searches = dict.fromkeys(s.seismic for s in (base, *survivors.get("SEISMIC", [])))
    every = (Setting(*parts) for parts in product(queries, phases, feedbacks, hybrids, searches, prunings))
    return [setting for setting in every if not setting.problems()]
