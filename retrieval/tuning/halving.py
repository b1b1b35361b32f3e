"""Successive halving with three objectives: the worse part is dropped after each rung, the rest is measured better.

Source of the scheme: Jamieson and Talwalkar, Non-stochastic Best Arm Identification and Hyperparameter Optimization,
AISTATS 2016. "Worse" is by layers of the Pareto front of nDCG@10, query cost and index size, then by nDCG@10.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from osparse.retrieval.serving.settings import Setting
from osparse.retrieval.tuning.questions import Question, Ranker, values

log = logging.getLogger("osparse.retrieval.tuning.halving")

FACTOR = 3
"""One in so many survives a rung, and the next rung has so many times the queries."""
SMALLEST = 60
"""Queries of the first rung, at least."""


@dataclass(frozen=True, eq=False)
class Trial:
    """A setting and what is known of it."""

    setting: Setting
    figures: NDArray[np.float64]
    """nDCG@10 of the first queries, as many as it was measured on."""
    cost: float
    """Postings that one search reads, times what further requests cost."""
    postings: int
    """Of the index."""

    @property
    def ndcg(self) -> float:
        return float(self.figures.mean()) if len(self.figures) else 0.0

    @property
    def objectives(self) -> tuple[float, float, float]:
        """To be small."""
        return (-self.ndcg, self.cost, float(self.postings))


@dataclass(frozen=True)
class Halving:
    """Runs rungs until ``deadline``."""

    ranker: Ranker
    asked: Sequence[Question]
    cost: Callable[[Setting], tuple[float, int]]
    """(query cost, postings of the index)."""
    deadline: float
    """By ``time.monotonic``."""

    def best(self, candidates: Sequence[Setting], keep: int, label: str) -> list[Trial]:
        """At most ``keep`` trials on all queries, or on as many as the time allowed; best layer first."""
        ordered = sorted(candidates, key=lambda setting: str(setting.pruning))  # each pruned index is made once
        trials = [Trial(setting, np.zeros(0), *self.cost(setting)) for setting in ordered]
        for number, (count, size) in enumerate(rungs(len(trials), len(self.asked), keep)):
            measured = self._rung(trials, size)
            if len(measured) < len(trials):
                log.info("%s: the time is over in rung %d of %d settings", label, number + 1, len(trials))
                return layered(measured)[:keep]
            trials = layered(measured)[:count]
            log.info("%s: %d settings on %d queries, %d go on", label, len(measured), size, len(trials))
        return trials[:keep]

    def _rung(self, trials: Sequence[Trial], size: int) -> list[Trial]:
        """The trials measured on the first ``size`` queries; those that the time allows."""
        measured = list[Trial]()
        for trial in sorted(trials, key=lambda one: str(one.setting.pruning)):
            if measured and time.monotonic() > self.deadline:
                break
            measured.append(self.extended(trial, size))
        return measured

    def extended(self, trial: Trial, size: int) -> Trial:
        """The trial measured on the first ``size`` queries, at least."""
        known = len(trial.figures)
        if known >= size:
            return trial
        more = values(self.ranker, trial.setting, self.asked[known:size])
        return Trial(trial.setting, np.concatenate([trial.figures, more]), trial.cost, trial.postings)


def rungs(candidates: int, queries: int, keep: int) -> list[tuple[int, int]]:
    """(candidates that go on, queries) of each rung; the last one has all queries."""
    counts = [candidates]
    while counts[-1] > keep:
        counts.append(max(keep, math.ceil(counts[-1] / FACTOR)))
    sizes = [min(queries, max(SMALLEST, queries // FACTOR**below)) for below in range(len(counts))][::-1]
    return list(zip([*counts[1:], keep], sizes, strict=True))


def layered(trials: Sequence[Trial]) -> list[Trial]:
    """By Pareto layer, within one by falling nDCG@10."""
    left, ordered = list(trials), list[Trial]()
    while left:
        front = [trial for trial in left if not any(dominates(other, trial) for other in left)]
        ordered += sorted(front, key=lambda trial: trial.objectives)
        left = [trial for trial in left if not any(trial is chosen for chosen in front)]
    return ordered


def dominates(first: Trial, second: Trial) -> bool:
    """Whether the first is nowhere worse and somewhere better."""
    a, b = first.objectives, second.objectives
    return all(x <= y for x, y in zip(a, b, strict=True)) and a != b
