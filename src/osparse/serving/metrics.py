"""Counters of a service in Prometheus' text format, summed over its workers.

Each worker writes its own file of numbers in a folder that all share (or keeps them in memory, if it is alone). A
worker that has ended keeps its counters, so that sums never fall, but not its gauges.

Format: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

STATUSES = (200, 400, 401, 413, 429, 500, 503)
"""Of answers to ``/encode``."""
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds; upper ends of the histogram of answer times."""
_HELP = {
    "texts_total": ("counter", "Texts encoded."),
    "batches_total": ("counter", "Runs of the encoder; texts divided by runs is the batch size."),
    "encode_seconds_total": ("counter", "Seconds in the encoder."),
    "queue_texts": ("gauge", "Texts that wait for the encoder."),
    "open_requests": ("gauge", "Requests to /encode under way."),
}
_NAMES = (
    *_HELP,
    *(f"requests_{status}" for status in STATUSES),
    *(f"bucket_{bucket:g}" for bucket in BUCKETS),
    "seconds_sum",
    "seconds_count",
)
_PLACE = {name: place for place, name in enumerate(_NAMES)}
_GAUGES = [_PLACE[name] for name, (kind, _) in _HELP.items() if kind == "gauge"]


class Metrics:
    """The counters of this worker; :meth:`text` shows those of all."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._own: NDArray[np.float64]
        if folder is None:
            self._own = np.zeros(len(_NAMES))
        else:
            path = folder / f"{os.getpid()}.counters"
            self._own = np.memmap(path, np.float64, "w+", shape=(len(_NAMES),))

    def add(self, name: str, value: float) -> None:
        self._own[_PLACE[name]] += value

    def set(self, name: str, value: float) -> None:
        self._own[_PLACE[name]] = value

    def answered(self, status: int, seconds: float) -> None:
        """Count an answer to ``/encode``; a status of none of :data:`STATUSES` counts as 500."""
        self.add(f"requests_{status if status in STATUSES else 500}", 1)
        for bucket in BUCKETS:
            if seconds <= bucket:
                self.add(f"bucket_{bucket:g}", 1)
        self.add("seconds_sum", seconds)
        self.add("seconds_count", 1)

    def text(self) -> str:
        sums = self._sums()
        lines: list[str] = []
        for name, (kind, text) in _HELP.items():
            lines += [f"# HELP osparse_{name} {text}", f"# TYPE osparse_{name} {kind}"]
            lines.append(f"osparse_{name} {sums[_PLACE[name]]:.9g}")
        lines += ["# HELP osparse_requests_total Answers to /encode.", "# TYPE osparse_requests_total counter"]
        lines += [
            f'osparse_requests_total{{status="{status}"}} {sums[_PLACE[f"requests_{status}"]]:.9g}'
            for status in STATUSES
        ]
        return "\n".join([*lines, *_histogram(sums)]) + "\n"

    def _sums(self) -> NDArray[np.float64]:
        if self._folder is None:
            return self._own
        total = np.zeros(len(_NAMES))
        for path in sorted(self._folder.glob("*.counters")):
            values = np.fromfile(path, np.float64)
            if len(values) == len(total):  # else its worker is making it at this moment
                values[_GAUGES] *= _alive(int(path.stem))
                total += values
        return total


def _histogram(sums: NDArray[np.float64]) -> list[str]:
    name, count = "osparse_request_seconds", sums[_PLACE["seconds_count"]]
    return [
        f"# HELP {name} Seconds from a request to /encode to its answer.",
        f"# TYPE {name} histogram",
        *(f'{name}_bucket{{le="{bucket:g}"}} {sums[_PLACE[f"bucket_{bucket:g}"]]:.9g}' for bucket in BUCKETS),
        f'{name}_bucket{{le="+Inf"}} {count:.9g}',
        f"{name}_sum {sums[_PLACE['seconds_sum']]:.9g}",
        f"{name}_count {count:.9g}",
    ]


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
