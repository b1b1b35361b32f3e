"""The search for settings: each part of a setting by itself, then the survivors together."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from osparse.retrieval.serving.passes import direction_of
from osparse.retrieval.serving.settings import Hybrid, Setting
from osparse.retrieval.tuning.halving import Halving, Trial, layered
from osparse.retrieval.tuning.questions import Question, Ranker, values
from osparse.retrieval.tuning.space import WEIGHTS, Abilities, combined, stages

log = logging.getLogger("osparse.retrieval.tuning.search")

SURVIVORS = {"query weights": 4, "pruning": 6, "hybrid": 2, "feedback": 3}
"""Of a part; of any other part two."""
FINALISTS = 8
"""Settings that are measured on the cluster, beside the present one."""
ASKED = 3
"""The same where settings are asked on the cluster instead of simulated: its builds are measured too."""
PRUNED = 3
"""Pruned indices that are built, at most."""
UNLIKELY = 0.03
"""nDCG@10 below the present setting's, from where on a setting is not measured further."""
BY_DIRECTION = 800
"""Queries on which the weights of a fusion are chosen for each direction."""
TOLERANCE = 0.005
"""nDCG@10 on validation that a cheaper finalist may lose."""


@dataclass(frozen=True)
class Search:
    """Everything the search needs to measure a setting."""

    ranker: Ranker
    asked: Sequence[Question]
    """The validation queries."""
    cost: Callable[[Setting], tuple[float, int]]
    base: Setting
    abilities: Abilities

    def run(self, seconds: float) -> tuple[Trial, list[Trial], int]:
        """(the present setting, others that were measured on every query, settings tried).

        Each part of a setting has the same share of the time, the combinations have two, and one is kept to measure the
        best on every query.
        """
        started = time.monotonic()
        parts = stages(self.base, self.abilities)
        share = seconds / (len(parts) + 3)
        survivors, tried, known = dict[str, list[Setting]](), 0, list[Trial]()
        present = self.whole(self.base)
        for number, (part, candidates) in enumerate(parts.items(), start=1):
            trials = self._halving(started + share * number).best(candidates, SURVIVORS.get(part, 2), part)
            survivors[part] = [trial.setting for trial in trials]
            known += trials
            tried += len(candidates)
        survivors["hybrid"] = [*survivors.get("hybrid", []), *self.by_direction(survivors.get("hybrid", []))]
        seen = [self.base, *(trial.setting for trial in known)]
        candidates = [setting for setting in combined(self.base, survivors) if setting not in seen]
        known += self._halving(started + seconds - share).best(candidates, 4 * FINALISTS, "combinations")
        return present, self._on_every_query(present, known, started + seconds), tried + len(candidates)

    def _on_every_query(self, present: Trial, trials: Sequence[Trial], deadline: float) -> list[Trial]:
        """The trials that are worth it, and for which there is time, on every query; some in any case."""
        halving, size = self._halving(deadline), len(self.asked)
        comparable = [
            trial for trial in trials if trial.ndcg >= float(present.figures[: len(trial.figures)].mean()) - UNLIKELY
        ]
        best, least = layered(comparable), FINALISTS if self.abilities.simulated else ASKED
        chosen = [*best[:least], *(trial for trial in best[least:] if len(trial.figures) == size)]
        measured = [halving.extended(trial, size) for trial in chosen]
        for trial in best[least:]:
            if len(trial.figures) < size and time.monotonic() < deadline:
                measured.append(halving.extended(trial, size))
        return measured

    def whole(self, setting: Setting) -> Trial:
        """The setting on every validation query."""
        return Trial(setting, values(self.ranker, setting, self.asked), *self.cost(setting))

    def by_direction(self, settings: Sequence[Setting]) -> list[Setting]:
        """The first of the settings with the weight of its fusion chosen for each direction by itself."""
        if not settings or settings[0].hybrid is None:
            return []
        first, choice = settings[0], settings[0].hybrid
        asked = self.asked[:BY_DIRECTION]
        directions = [direction_of(question.text, question.lang) for question in asked]
        if len(set(directions)) < 2:
            return []
        figures = np.array([values(self.ranker, replace(first, hybrid=_with(choice, w)), asked) for w in WEIGHTS])
        chosen = {
            direction: WEIGHTS[int(figures[:, [d == direction for d in directions]].mean(axis=1).argmax())]
            for direction in dict.fromkeys(directions)
        }
        return [replace(first, hybrid=replace(choice, by_direction=chosen))]

    def _halving(self, deadline: float) -> Halving:
        return Halving(self.ranker, self.asked, self.cost, deadline)


def finalists(present: Trial, trials: Sequence[Trial]) -> list[Setting]:
    """Settings worth measuring on the cluster, at most :data:`FINALISTS` of at most :data:`PRUNED` prunings.

    The best of all; the best whose search costs no more than the present one; the smallest index and the cheapest
    search that lose at most :data:`TOLERANCE`; then those of the Pareto front by falling nDCG@10.
    """
    enough = [trial for trial in trials if trial.ndcg >= present.ndcg - TOLERANCE]
    cheap = [trial for trial in trials if trial.cost <= present.cost and trial.postings <= present.postings]
    wanted = [
        *sorted(trials, key=lambda trial: -trial.ndcg)[:1],
        *sorted(cheap, key=lambda trial: -trial.ndcg)[:2],
        *sorted(enough, key=lambda trial: (trial.postings, trial.cost))[:1],
        *sorted(enough, key=lambda trial: (trial.cost, trial.postings))[:1],
        *layered(trials),
    ]
    chosen = list[Setting]()
    for trial in wanted:
        prunings = {setting.pruning for setting in [*chosen, trial.setting] if setting.pruning is not None}
        if trial.setting not in chosen and len(prunings) <= PRUNED and len(chosen) < FINALISTS:
            chosen.append(trial.setting)
    return chosen


def _with(choice: Hybrid, weight: float) -> Hybrid:
    return replace(choice, weight=weight, by_direction={})
