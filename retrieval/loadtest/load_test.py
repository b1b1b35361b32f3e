"""Measure how fast an index answers under load: several systems in turns, requests by a fixed schedule."""

from __future__ import annotations

import ipaddress
import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.client import Cluster
from osparse.deployer.segments.segments import read_segments
from osparse.errors import ClusterError, InputError, MissingExtraError
from osparse.io.files import output_folder
from osparse.io.progress import progress
from osparse.retrieval.loadtest.arrivals import ArrivalKind, arrivals
from osparse.retrieval.loadtest.load_report import FILES, LoadReport, Measured
from osparse.retrieval.loadtest.open_loop import Samples, Sender, send_open_loop
from osparse.retrieval.loadtest.picture import draw_percentiles
from osparse.retrieval.loadtest.systems import LoadSystem, load_systems
from osparse.retrieval.loadtest.throughput import rates_within
from osparse.retrieval.searcher import Searcher

log = logging.getLogger("osparse.retrieval.loadtest.load_test")

MOST_CLIENTS = 64
TURNS = 5
"""Each system's time is cut into so many pieces, and the systems take turns, so that a busy moment slows all."""
USED = 0.5
"""Rate without ``rate``: this share of the capacity of the slowest system."""
CALIBRATION = 1.0
"""Seconds in which the clients of one system send without a pause, to warm it up and see its capacity."""
GRACE = 2.0
"""Seconds after the last request is due in which a queue may still be worked off."""
TIMEOUT = 10.0
"""Seconds after which a client gives an answer up; the request counts as failed."""


def load_test(
    cluster: Cluster,
    index: str,
    texts: Sequence[str],
    *,
    system: Sequence[str] = (),
    clients: Sequence[int] = (1, 10),
    rate: float | None = None,
    seconds: float = 20.0,
    kind: ArrivalKind = "poisson",
    bound: float | None = None,
    lang: str | None = None,
    allow_remote: bool = False,
    output: Path | str | None = None,
    overwrite: bool = False,
    seed: int = 0,
) -> LoadReport:
    """Send searches by a schedule that does not wait for answers, and report what their senders waited.

        report = load_test(cluster, "products", ["video editor", "동영상 편집기"], clients=[10], seconds=30)

    Args:
        texts: Queries, sent in turn.
        system: Names out of :data:`osparse.retrieval.loadtest.systems.SYSTEMS`; all that the index serves without any.
        clients: Numbers of clients, each 1 to 64: so many requests can be under way at a time.
        rate: Requests a second of every system; without it half of the slowest system's capacity.
        seconds: How long each system is sent requests with each number of clients.
        kind: Gaps between requests: ``poisson`` or ``constant``.
        bound: Milliseconds; also find the highest rate at which p99 is within it.
        lang: Language of the documents that ``filtered`` searches; None takes the one of each query.
        allow_remote: Load a cluster that is not on this machine; ``rate`` must then be given.
        output: A folder for loadtest.json, loadtest.txt and loadtest.png.
        overwrite: Replace what ``output`` holds of another test.
        seed: Of the schedule and of the order of the queries.

    Raises:
        InputError: a setting out of its range, no queries, another machine's cluster without ``allow_remote``.
        ClusterError: the index cannot be read, or a system's first searches fail.
    """
    check_allowed(cluster, allow_remote, rate)
    _check(texts, clients, seconds, bound)
    arrivals(1.0 if rate is None else rate, seconds, kind, np.random.default_rng(0))
    folder = output_folder(output, FILES, overwrite)
    searcher = Searcher(cluster, index)
    searcher.check_one_field("a load test")
    described = _described(cluster, index, searcher)  # a cluster that cannot say it is not measured first
    shuffled = [str(text) for text in np.random.default_rng(seed).permutation(list(dict.fromkeys(texts)))]
    started = time.perf_counter()
    systems = load_systems(searcher, system, shuffled, lang)
    prepared = (time.perf_counter() - started) * 1000 / (len(systems) * len(shuffled))
    test = _Test(cluster, systems, seconds, kind, np.random.default_rng(seed))
    before = os.getloadavg()[0]
    rows: list[Measured] = []
    curves: dict[tuple[str, int], Samples] = {}
    for number in clients:
        for row, samples in test.with_clients(number, rate, bound):
            rows.append(row)
            curves[row.system, number] = samples
    machine = {
        "processors": os.cpu_count(),
        "load_average": [before, os.getloadavg()[0]],
        "loopback": is_loopback(cluster.url),
    }
    report = LoadReport(
        index, described, {s.name: s.what for s in systems}, len(shuffled), kind, seconds,
        rows, machine, prepared, bound,
    )  # fmt: skip
    if folder is not None:
        report.save(folder)
        _draw(folder / FILES[2], curves, report)
    return report


class _Test:
    """The systems, and how they are sent requests."""

    def __init__(
        self,
        cluster: Cluster,
        systems: Sequence[LoadSystem],
        seconds: float,
        kind: ArrivalKind,
        random: np.random.Generator,
    ) -> None:
        self.cluster, self.systems, self.seconds, self.kind, self.random = cluster, systems, seconds, kind, random
        self.sent = dict.fromkeys((system.name for system in systems), 0)
        """Requests so far, so that a system's queries go on where they were."""

    def with_clients(self, number: int, rate: float | None, bound: float | None) -> list[tuple[Measured, Samples]]:
        """Measure every system with so many clients."""
        with self._connected(number) as senders:
            capacities = {name: self._capacity(name, senders[name]) for name in senders}
            chosen = rate if rate is not None else USED * min(capacities.values())
            seen = self._in_turns(senders, chosen, number)
            rates = {}
            if bound is not None:
                rates = rates_within(
                    capacities, bound, lambda name, at, seconds: self._stretch(name, senders[name], at, seconds)
                )
        return [
            (Measured.of(name, number, chosen, capacities[name], samples, rates.get(name)), samples)
            for name, samples in seen.items()
        ]

    @contextmanager
    def _connected(self, number: int) -> Iterator[dict[str, list[Sender]]]:
        """System -> a sender for each client, over connections that all systems share."""
        connections = [self.cluster.single_client(TIMEOUT) for _ in range(number)]
        try:
            yield {system.name: [system.connect(connection) for connection in connections] for system in self.systems}
        finally:
            for connection in connections:
                connection.close()

    def _in_turns(self, senders: dict[str, list[Sender]], rate: float, clients: int) -> dict[str, Samples]:
        parts: dict[str, list[Samples]] = {name: [] for name in senders}
        names = list(senders)
        with progress(f"{clients} clients, {rate:.1f} requests/s", TURNS * len(names), "turns") as bar:
            for _ in range(TURNS):
                for name in self.random.permutation(names):
                    parts[name].append(self._stretch(name, senders[name], rate, self.seconds / TURNS))
                    bar.advance(1)
        return {name: Samples.joined(part) for name, part in parts.items()}

    def _stretch(self, name: str, senders: Sequence[Sender], rate: float, seconds: float) -> Samples:
        due = arrivals(rate, seconds, self.kind, self.random)
        first = self.sent[name]
        self.sent[name] += len(due)
        return send_open_loop([_from(send, first) for send in senders], due, give_up=seconds + GRACE, length=seconds)

    def _capacity(self, name: str, senders: Sequence[Sender]) -> float:
        """Answers a second when nobody waits; raises :class:`ClusterError` where none is good."""
        senders[0](0)  # its error, if the system cannot be asked at all
        due = np.zeros(int(CALIBRATION * 100_000))
        samples = send_open_loop(senders, due, give_up=CALIBRATION)
        if not samples.throughput:
            raise ClusterError(f"{name}: no request was answered: {next(iter(samples.errors), 'none was sent')}")
        return samples.throughput


def _from(send: Sender, first: int) -> Sender:
    return lambda number: send(first + number)


def check_allowed(cluster: Cluster, allow_remote: bool, rate: float | None) -> None:
    """Raises :class:`InputError` for a cluster elsewhere, unless that is allowed and the rate is named."""
    if is_loopback(cluster.url):
        return
    if not allow_remote:
        raise InputError(
            f"{cluster.url} is not on this machine, and a load test slows everyone who uses it; pass "
            "`allow_remote=True` and a `rate` if its owner agrees"
        )
    if rate is None:
        raise InputError(f"{cluster.url} is not on this machine: name the `rate` of requests a second it may be sent")


def is_loopback(url: str) -> bool:
    """Whether an address is this machine's own: localhost, 127.0.0.0/8 or ::1."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check(texts: Sequence[str], clients: Sequence[int], seconds: float, bound: float | None) -> None:
    if not texts:
        raise InputError("there are no queries to send; give some `texts`")
    wrong = [number for number in clients if not 1 <= number <= MOST_CLIENTS]
    if wrong or not clients or len(set(clients)) < len(clients):
        raise InputError(f"`clients` must be different numbers from 1 to {MOST_CLIENTS}, got {list(clients)}")
    if not seconds > 0:
        raise InputError(f"`seconds` must be above 0, got {seconds:g}")
    if bound is not None and not bound > 0:
        raise InputError(f"`bound` must be above 0 ms, got {bound:g}")


def _described(cluster: Cluster, index: str, searcher: Searcher) -> dict[str, Any]:
    api, deployment = ClusterApi(cluster), searcher.deployment
    return {
        "documents": api.count(index),
        "bytes": api.store_size(index),
        "segments": len(read_segments(api, index)),
        "bundle": deployment.bundle,
        "fingerprint": deployment.fingerprint,
        "vector": deployment.vector,
    }


def _draw(path: Path, curves: dict[tuple[str, int], Samples], report: LoadReport) -> None:
    d = report.deployment
    title = f"{report.index}: {d['documents']:,} documents (dashed: from sending)"
    try:
        draw_percentiles(path, curves, title)
    except MissingExtraError as problem:
        log.warning("no picture of the percentiles: %s", problem)
