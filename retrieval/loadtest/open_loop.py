"""Send requests when they are due, whether or not earlier ones were answered, and time each from when it was due.

A test whose clients send the next request only after the last answer sends few requests while the server stalls, and
so hides the stall ("coordinated omission", Tene, "How NOT to Measure Latency", 2013). Here a stall delays every
request that falls due during it, and the delay counts.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from osparse.errors import OsparseError

Sender = Callable[[int], object]
"""Sends the request of a number and reads its answer; raises :class:`OsparseError` where that is no good answer."""


@dataclass(frozen=True, eq=False)
class Samples:
    """What the senders of one stretch of time saw."""

    response: NDArray[np.float64]
    """(N,) milliseconds from when an answered request was due to its answer, waiting for a free client included."""
    service: NDArray[np.float64]
    """(N,) milliseconds from sending the same requests to their answers."""
    waiting: NDArray[np.float64]
    """(U,) milliseconds that requests had waited which no client was free to send before the end."""
    errors: Mapping[str, int] = field(default_factory=dict)
    """Reason -> requests that failed for it."""
    seconds: float = 0.0
    """From the start to the last answer, or to the end of the schedule if that is later."""

    @property
    def requests(self) -> int:
        """All that were due."""
        return len(self.response) + len(self.waiting) + self.failed

    @property
    def failed(self) -> int:
        return sum(self.errors.values())

    @property
    def throughput(self) -> float:
        """Good answers a second."""
        return len(self.response) / self.seconds if self.seconds > 0 else 0.0

    def percentile(self, q: float) -> float | None:
        """The q-th percentile of the response times in milliseconds; None of too few requests to have one.

        A request that was not sent counts with the time it waited, which is less than its response would have taken.
        """
        return _percentile(np.concatenate([self.response, self.waiting]), q)

    def service_percentile(self, q: float) -> float | None:
        return _percentile(self.service, q)

    @classmethod
    def joined(cls, parts: Sequence[Samples]) -> Samples:
        """Several stretches as one."""
        errors = Counter[str]()
        for part in parts:
            errors.update(part.errors)
        return cls(
            np.concatenate([part.response for part in parts]),
            np.concatenate([part.service for part in parts]),
            np.concatenate([part.waiting for part in parts]),
            dict(errors),
            sum(part.seconds for part in parts),
        )


def send_open_loop(
    senders: Sequence[Sender], due: NDArray[np.float64], *, give_up: float, length: float = 0.0
) -> Samples:
    """Send request i at ``due[i]`` by the first client that is free, in order.

    Args:
        senders: One for each client; each is called by one thread only.
        due: (N,) seconds from the start, ascending.
        give_up: Seconds from the start after which no further request is sent.
        length: Seconds that the schedule covers; a rate of answers is counted over at least these.
    """
    numbers: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(len(due)):
        numbers.put(number)
    stretch = _Stretch(numbers, due, give_up)
    with ThreadPoolExecutor(len(senders), thread_name_prefix="client") as clients:
        try:
            for client in [clients.submit(stretch.work, send) for send in senders]:
                client.result()
        finally:
            stretch.stopped.set()
    return stretch.samples(length)


class _Stretch:
    """The state that the clients share."""

    def __init__(self, numbers: queue.SimpleQueue[int], due: NDArray[np.float64], give_up: float) -> None:
        self.numbers, self.due, self.give_up = numbers, due, give_up
        self.sent, self.answered = np.full(len(due), np.nan), np.full(len(due), np.nan)
        self.errors: dict[int, str] = {}
        self.stopped = threading.Event()
        self.start = time.perf_counter()

    def work(self, send: Sender) -> None:
        """What one client does until no request is left."""
        while True:
            try:
                number = self.numbers.get_nowait()
            except queue.Empty:
                return
            wait = self.start + self.due[number] - time.perf_counter()
            if wait > 0 and self.stopped.wait(wait):
                return
            now = time.perf_counter() - self.start
            if now > self.give_up or self.stopped.is_set():
                return
            self._send(send, number, now)

    def _send(self, send: Sender, number: int, now: float) -> None:
        self.sent[number] = now
        try:
            send(number)
        except OsparseError as problem:
            self.errors[number] = str(problem)
        self.answered[number] = time.perf_counter() - self.start

    def samples(self, length: float) -> Samples:
        failed = np.zeros(len(self.due), bool)
        failed[list(self.errors)] = True
        good = ~np.isnan(self.answered) & ~failed
        unsent = np.isnan(self.sent)
        answered = self.answered[~np.isnan(self.answered)]
        return Samples(
            response=(self.answered - self.due)[good] * 1000,
            service=(self.answered - self.sent)[good] * 1000,
            waiting=np.maximum(0.0, self.give_up - self.due[unsent]) * 1000,
            errors=dict(Counter(self.errors.values())),
            seconds=max(length, float(answered.max()) if len(answered) else self.give_up),
        )


def _percentile(values: NDArray[np.float64], q: float) -> float | None:
    """By linear interpolation; None where not one value would lie above it (p99 needs 100 values, p99.9 1,000)."""
    if not len(values) or round(len(values) * (100 - q), 6) < 100:
        return None
    return float(np.percentile(values, q))
