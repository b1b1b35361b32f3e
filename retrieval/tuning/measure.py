"""The finalists on the cluster and on the test queries: times, sizes, figures, the choice."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osparse.deployer.segments.seismic import warm_up_seismic
from osparse.errors import ClusterError
from osparse.retrieval.serving.settings import Setting, Storage
from osparse.retrieval.systems.cluster_run import latencies
from osparse.retrieval.tuning.applying.copies import Copies, add_in_time, copies_of
from osparse.retrieval.tuning.budgets import Budget
from osparse.retrieval.tuning.building.trials import BuildTrials
from osparse.retrieval.tuning.questions import Ranker, by_direction, values
from osparse.retrieval.tuning.result.choice import Point, choose, p_values, verdict
from osparse.retrieval.tuning.result.plan import TuningPlan
from osparse.retrieval.tuning.search import ASKED
from osparse.retrieval.tuning.subject import Subject

log = logging.getLogger("osparse.retrieval.tuning.measure")

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
    field = subject.searcher.deployment.field
    with copies_of(subject.api, subject.alias, subject.concrete, field) as copies:
        measured = _stored(subject, settings, validation, copies, started + COPIED * (deadline - started))
        times = _times(subject, measured, deadline)
        points = _points(subject, measured, times)
        chosen = choose(points, budgets)
        notes = [*subject.notes, *measured.notes, *_promise(subject, chosen, measured)]
    change, words = verdict(chosen, points[0], budgets)
    ordered = [points[0], *sorted(points[1:], key=lambda point: -point.validation)]
    return TuningPlan(
        subject.alias, subject.searcher.deployment.fingerprint, subject.dataset, [budget.text for budget in budgets],
        ordered, next(i for i, point in enumerate(ordered) if point is chosen), change, words, notes, tried,
        time.monotonic() - started, built=measured.built,
    )  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """The settings that are measured, and the index that each asks."""

    settings: Sequence[Setting]
    """The present one first."""
    validation: Mapping[Setting, float]
    places: Mapping[Storage, str]
    recalls: Mapping[Setting, float | None]
    notes: list[str]
    built: list[dict[str, Any]]


def _stored(
    subject: Subject, settings: Sequence[Setting], validation: Mapping[Setting, float], copies: Copies, until: float
) -> Measured:
    """Make the indices that the settings ask; of a ``sparse_vector`` field those that are worth trying."""
    if subject.abilities.seismic:
        return _built(subject, settings, copies, until)
    storages = list(dict.fromkeys(setting.storage for setting in settings))
    if storages == [None]:
        return Measured(settings, validation, {None: subject.concrete}, {}, [], [])
    add_in_time(copies, storages, until)
    stored = [setting for setting in settings if setting.storage in copies.places]
    late = len(settings) - len(stored)
    note = f"{late} finalists were not measured: no time was left to build their indices; raise `minutes`"
    return Measured(stored, validation, copies.places, {}, [note] if late else [], [])


def _built(subject: Subject, settings: Sequence[Setting], copies: Copies, until: float) -> Measured:
    """The query settings on a merged copy of the present index, and the plainest of them on further builds."""
    plain = [one for one in settings[1:] if one.hybrid is None and one.feedback is None][:1]
    searches = [settings[0], *plain]
    trials = BuildTrials.start(subject, copies, searches)
    trials.run(until)
    builds = [trial.build for trial in trials.kept() if trial.build is not None]
    stored = [*settings[: 1 + ASKED], *(replace(one, build=build) for build in builds for one in searches)]
    ranked = {one: values(subject.live(copies.places[one.storage]), one, subject.validation) for one in stored}
    recalls = {one: trials.recall(one.seismic, copies.places[one.storage]) for one in stored}
    notes = [*trials.notes(), *_warmed(subject, copies)]
    rows = [trial.to_json() for trial in trials.trials]
    return Measured(stored, {one: float(v.mean()) for one, v in ranked.items()}, copies.places, recalls, notes, rows)


def _warmed(subject: Subject, copies: Copies) -> list[str]:
    """Load the copies into the caches of the nodes before they are timed; names those that were not cached whole."""
    full = []
    for storage, place in copies.places.items():
        try:
            warm_up_seismic(subject.api, place)
        except ClusterError as problem:
            log.info("%s", problem)
            full.append(str(storage or "as the present index"))
    if not full:
        return []
    return [f"timed without a full cache, which is slower: {'; '.join(full)} (the SEISMIC caches of a node are full)"]


def _times(subject: Subject, measured: Measured, deadline: float) -> dict[str, dict[str, float]]:
    """Setting's text -> p50 and p95, the median of as many rounds as there is time for; all settings take turns."""
    asked = subject.validation[:TIMED]
    langs = {question.text: question.lang for question in asked}
    senders: dict[str, Callable[[str], object]] = {
        str(setting): subject.live(measured.places[setting.storage]).sender(setting, langs)
        for setting in measured.settings
    }
    rounds = [latencies(senders, list(langs))]
    while len(rounds) < ROUNDS and time.monotonic() < deadline:
        rounds.append(latencies(senders, list(langs)))
    return {
        name: {part: float(np.median([one[name][part] for one in rounds])) for part in ("p50", "p95")}
        for name in senders
    }


def _points(subject: Subject, measured: Measured, times: Mapping[str, Mapping[str, float]]) -> list[Point]:
    figures = [values(_ranker(subject, setting, measured), setting, subject.test) for setting in measured.settings]
    gains = [row - figures[0] for row in figures]
    tests = [(1.0, 1.0), *p_values([gain.tolist() for gain in gains[1:]])]
    sizes = {storage: subject.api.store_size(place) for storage, place in measured.places.items()}
    return [
        _point(subject, setting, measured, row, gain, test, times[str(setting)], sizes)
        for setting, row, gain, test in zip(measured.settings, figures, gains, tests, strict=True)
    ]


def _ranker(subject: Subject, setting: Setting, measured: Measured) -> Ranker:
    """What is simulated is the same of every index; what is not is asked of the index that the setting is of."""
    return subject.ranker if subject.abilities.simulated else subject.live(measured.places[setting.storage])


def _point(
    subject: Subject,
    setting: Setting,
    measured: Measured,
    figures: NDArray[np.float64],
    gain: NDArray[np.float64],
    test: tuple[float, float],
    times: Mapping[str, float],
    sizes: Mapping[Storage, int],
) -> Point:
    half = 1.96 * gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else 0.0
    cost, postings = subject.cost(replace(setting, hybrid=None))
    removed = subject.cost(subject.base)[1] - postings
    return Point(
        setting=setting,
        validation=measured.validation[setting],
        test=float(figures.mean()),
        by_direction=by_direction(subject.test, figures),
        gain=float(gain.mean()),
        low=float(gain.mean() - half),
        p=test[0],
        p_adjusted=test[1],
        p50=times["p50"],
        p95=times["p95"],
        bytes=sizes[setting.storage],
        estimated_bytes=int(sizes[None] - removed * BYTES_PER_POSTING),
        flops=cost / subject.documents,
        postings=postings,
        recall=measured.recalls.get(setting),
    )


def _promise(subject: Subject, chosen: Point, measured: Measured) -> list[str]:
    """The chosen setting asked on the cluster, where its figures were simulated."""
    if not subject.abilities.simulated:
        return []
    asked = subject.test[:CHECKED]
    simulated = float(values(subject.ranker, chosen.setting, asked).mean())
    live = subject.live(measured.places[chosen.setting.storage])
    served = float(values(live, chosen.setting, asked).mean())
    same = abs(simulated - served) < 0.0005
    state = "as simulated" if same else f"{simulated:.4f} was simulated"
    return [f"the cluster gives the chosen setting {served:.4f} nDCG@10 on {len(asked)} test queries, {state}"]
