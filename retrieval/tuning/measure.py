"""The finalists on the cluster and on the test queries: times, sizes, figures, the choice."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from osparse.retrieval.serving.settings import Pruning, Setting
from osparse.retrieval.systems.cluster_run import latencies
from osparse.retrieval.tuning.applying.copies import measured_copies
from osparse.retrieval.tuning.budgets import Budget
from osparse.retrieval.tuning.questions import by_direction, values
from osparse.retrieval.tuning.result.choice import Point, choose, p_values, verdict
from osparse.retrieval.tuning.result.plan import TuningPlan
from osparse.retrieval.tuning.subject import Subject

TIMED = 220
"""Queries that are timed one by one."""
ROUNDS = 3
"""How often all of them are timed, at most."""
COPIED = 0.85
"""Of the minutes, until when pruned copies are made."""
CHECKED = 400
"""Test queries that the chosen setting is asked on the cluster, to see that it gives what was simulated."""
BYTES_PER_POSTING = 19.2
"""Of an index in one segment, the weight in ``_source`` included.

Measured on 8,028 descriptions of at most 200 weights, OpenSearch 3.8.0: 19.1 to 19.3 for three prunings.
"""


def measure_finalists(
    subject: Subject,
    settings: Sequence[Setting],
    validation: Mapping[Setting, float],
    budgets: Sequence[Budget],
    tried: int,
    started: float,
    deadline: float,
) -> TuningPlan:
    """The finalists on the cluster and on the test queries."""
    prunings = list(dict.fromkeys(setting.pruning for setting in settings))
    with ExitStack() as stack:
        places: dict[Pruning | None, str] = {None: subject.concrete}
        if prunings != [None]:
            field = subject.searcher.deployment.field
            until = started + COPIED * (deadline - started)
            copies = measured_copies(subject.api, subject.alias, subject.concrete, field, prunings, until)
            places = stack.enter_context(copies)
        left_out = sum(setting.pruning not in places for setting in settings)
        settings = [setting for setting in settings if setting.pruning in places]
        times = _times(subject, settings, places, deadline)
        sizes = {pruning: subject.api.store_size(place) for pruning, place in places.items()}
        points = _points(subject, settings, validation, times, sizes)
        chosen = choose(points, budgets)
        late = [f"{left_out} finalists were not measured: no time was left to build their indices; raise `minutes`"]
        notes = [*subject.notes, *(late if left_out else []), *_promise(subject, chosen, places)]
    change, words = verdict(chosen, points[0], budgets)
    ordered = [points[0], *sorted(points[1:], key=lambda point: -point.validation)]
    return TuningPlan(
        subject.alias, subject.searcher.deployment.fingerprint, subject.dataset, [budget.text for budget in budgets],
        ordered, next(i for i, point in enumerate(ordered) if point is chosen), change, words, notes, tried,
        time.monotonic() - started,
    )  # fmt: skip


def _times(
    subject: Subject, settings: Sequence[Setting], places: Mapping[Pruning | None, str], deadline: float
) -> dict[str, dict[str, float]]:
    """Setting's text -> p50 and p95, the median of as many rounds as there is time for; all settings take turns."""
    asked = subject.validation[:TIMED]
    langs = {question.text: question.lang for question in asked}
    senders: dict[str, Callable[[str], object]] = {
        str(setting): subject.live(places[setting.pruning]).sender(setting, langs) for setting in settings
    }
    rounds = [latencies(senders, list(langs))]
    while len(rounds) < ROUNDS and time.monotonic() < deadline:
        rounds.append(latencies(senders, list(langs)))
    return {
        name: {part: float(np.median([one[name][part] for one in rounds])) for part in ("p50", "p95")}
        for name in senders
    }


def _points(
    subject: Subject,
    settings: Sequence[Setting],
    validation: Mapping[Setting, float],
    times: Mapping[str, Mapping[str, float]],
    sizes: Mapping[Pruning | None, int],
) -> list[Point]:
    figures = [values(subject.ranker, setting, subject.test) for setting in settings]
    gains = [row - figures[0] for row in figures]
    tests = [(1.0, 1.0), *p_values([gain.tolist() for gain in gains[1:]])]
    return [
        _point(subject, setting, validation[setting], row, gain, test, times[str(setting)], sizes)
        for setting, row, gain, test in zip(settings, figures, gains, tests, strict=True)
    ]


def _point(
    subject: Subject,
    setting: Setting,
    validation: float,
    figures: NDArray[np.float64],
    gain: NDArray[np.float64],
    test: tuple[float, float],
    times: Mapping[str, float],
    sizes: Mapping[Pruning | None, int],
) -> Point:
    half = 1.96 * gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else 0.0
    cost, postings = subject.cost(replace(setting, hybrid=None))
    removed = subject.cost(subject.base)[1] - postings
    return Point(
        setting=setting,
        validation=validation,
        test=float(figures.mean()),
        by_direction=by_direction(subject.test, figures),
        gain=float(gain.mean()),
        low=float(gain.mean() - half),
        p=test[0],
        p_adjusted=test[1],
        p50=times["p50"],
        p95=times["p95"],
        bytes=sizes[setting.pruning],
        estimated_bytes=int(sizes[None] - removed * BYTES_PER_POSTING),
        flops=cost / subject.documents,
        postings=postings,
    )


def _promise(subject: Subject, chosen: Point, places: Mapping[Pruning | None, str]) -> list[str]:
    """The chosen setting asked on the cluster: nothing to say where it gives what was simulated."""
    asked = subject.test[:CHECKED]
    simulated = float(values(subject.ranker, chosen.setting, asked).mean())
    served = float(values(subject.live(places[chosen.setting.pruning]), chosen.setting, asked).mean())
    same = abs(simulated - served) < 0.0005
    state = "as simulated" if same else f"{simulated:.4f} was simulated"
    return [f"the cluster gives the chosen setting {served:.4f} nDCG@10 on {len(asked)} test queries, {state}"]
