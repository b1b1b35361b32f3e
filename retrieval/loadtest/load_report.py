"""What a load test found: a table for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from osparse.io.files import write_atomic
from osparse.retrieval.loadtest.open_loop import Samples

PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)
BASELINE = "bm25"
FILES = ("loadtest.json", "loadtest.txt", "loadtest.png")


@dataclass(frozen=True)
class Measured:
    """One system with one number of clients. Times are in milliseconds, from when a request was due."""

    system: str
    clients: int
    rate: float
    """Requests a second that fell due."""
    capacity: float
    """Answers a second when every client sends as soon as its last request is answered."""
    requests: int
    failed: int
    unsent: int
    """Requests that no client was free to send before the end; they count in the percentiles with the time waited."""
    throughput: float
    """Good answers a second."""
    percentiles: dict[str, float | None]
    """``p50`` to ``p99.9``; None where there are too few requests for it."""
    service: dict[str, float | None]
    """The same from sending, without the wait for a free client: what a test that waits for answers would show."""
    slowest: float
    errors: dict[str, int] = field(default_factory=dict)
    bound_rate: float | None = None
    """The highest rate tried whose p99 was within the bound; None without a bound, 0 where none was."""

    @classmethod
    def of(
        cls, system: str, clients: int, rate: float, capacity: float, samples: Samples, bound_rate: float | None = None
    ) -> Measured:
        slowest = max(samples.response.max(initial=0.0), samples.waiting.max(initial=0.0))
        return cls(
            system, clients, rate, capacity, samples.requests, samples.failed, len(samples.waiting),
            samples.throughput, {f"p{q:g}": samples.percentile(q) for q in PERCENTILES},
            {f"p{q:g}": samples.service_percentile(q) for q in PERCENTILES},
            float(slowest), dict(samples.errors), bound_rate,
        )  # fmt: skip


@dataclass(frozen=True)
class LoadReport:
    """The result of :func:`osparse.retrieval.load_test`."""

    index: str
    deployment: dict[str, Any]
    """documents, bytes, segments, bundle, fingerprint, field type."""
    systems: dict[str, str]
    """Name -> how it searches."""
    queries: int
    """Different texts."""
    arrivals: str
    seconds: float
    """Of each system with each number of clients."""
    rows: list[Measured]
    machine: dict[str, Any]
    """processors, load average before and after, and whether the cluster is on this machine."""
    prepare_ms: float
    """Mean time to tokenise a query and make its body, which is done before the test and is not in the times."""
    bound: float | None = None
    """Milliseconds that p99 had to be within for ``bound_rate``."""

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "rows": [{**asdict(row), "p99_to_bm25": self.ratio(row)} for row in self.rows]}

    def ratio(self, row: Measured) -> float | None:
        """p99 as a multiple of BM25's with the same clients and rate; None without one."""
        for other in self.rows:
            if other.system == BASELINE and other.clients == row.clients:
                mine, base = row.percentiles["p99"], other.percentiles["p99"]
                return mine / base if mine is not None and base else None
        return None

    def save(self, folder: Path) -> None:
        """Write loadtest.json and loadtest.txt."""
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.to_json(), ensure_ascii=False, allow_nan=False, indent=2)
        write_atomic(folder / FILES[0], f"{text}\n")
        write_atomic(folder / FILES[1], f"{self}\n")

    def __str__(self) -> str:
        d = self.deployment
        lines = [
            f"{self.index}: {d['documents']:,} documents, {d['bytes'] / 1e6:.1f} MB, {d['segments']} segments, "
            f"{d['vector']}; {self.queries:,} queries, {self.arrivals} arrivals",
            *_table([_HEAD, *(self._cells(row) for row in self.rows)]),
            "Times in ms from when a request was due, waiting for a free client included. capacity: answers a second "
            "when the clients wait for each answer; n/a: too few requests for this percentile.",
            *([f"rate at bound: the highest rate tried with p99 <= {self.bound:g} ms."] if self.bound else []),
            *(f"{name}: {what}" for name, what in self.systems.items()),
            *(f"{row.system}, {row.clients} clients: {n} times: {why}" for row in self.rows for why, n in _errors(row)),
            f"tokenising a query and making its body took {self.prepare_ms:.2f} ms on average and is not in the times",
            self._machine(),
        ]
        return "\n".join(lines)

    def _machine(self) -> str:
        m = self.machine
        loads = " and ".join(f"{value:.1f}" for value in m["load_average"])
        where = "the cluster runs on this machine too" if m["loopback"] else "the cluster runs on another machine"
        return f"{m['processors']} processors, load average before and after: {loads}; {where}"

    def _cells(self, row: Measured) -> list[str]:
        ratio = self.ratio(row)
        return [
            row.system, str(row.clients), f"{row.rate:.1f}", *(_ms(value) for value in row.percentiles.values()),
            f"{row.slowest:.1f}", "n/a" if ratio is None else f"{ratio:.2f}x", f"{row.throughput:.1f}",
            f"{row.capacity:.1f}", "" if row.bound_rate is None else f"{row.bound_rate:.1f}",
            f"{row.failed + row.unsent} of {row.requests}",
        ]  # fmt: skip


_HEAD = ["system", "clients", "rate/s", *(f"p{q:g}" for q in PERCENTILES), "slowest", "p99 to BM25", "answers/s",
         "capacity/s", "at bound/s", "errors"]  # fmt: skip


def _errors(row: Measured) -> list[tuple[str, int]]:
    return sorted(row.errors.items(), key=lambda pair: -pair[1])[:3]


def _ms(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.1f}"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Aligned columns; one that is empty in every row is left out."""
    used = [place for place in range(len(rows[0])) if any(row[place] for row in rows[1:])]
    widths = {place: max(len(row[place]) for row in rows) for place in used}
    return [
        "  ".join(row[p].ljust(widths[p]) if p == 0 else row[p].rjust(widths[p]) for p in used).rstrip() for row in rows
    ]
