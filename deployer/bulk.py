"""Bulk requests: split by size, documents the cluster is too busy for are sent again, the others' reasons are kept."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from osparse.deployer.cluster_api import ClusterApi, ndjson
from osparse.deployer.connection import reason_of
from osparse.errors import InputError

log = logging.getLogger("osparse.deployer.bulk")

MAX_BYTES = 5_000_000
"""Of one bulk body, unless a single document is larger."""
BUSY = (429, 503)
TRIES = 8
_LONGEST_WAIT = 10.0


class Line(NamedTuple):
    """A document to send."""

    id: str
    source: dict[str, Any]
    ingest: bool = True
    """Whether it goes through the index's default ingest pipeline."""


@dataclass(frozen=True)
class Failure:
    """A document that was not indexed, and why."""

    id: str
    reason: str


class FailureLog:
    """Failures as they come: each in the file, only their number and the first few in memory; thread-safe.

    The file is written from its start at the first failure, and not touched if there is none.

    Raises:
        InputError: the path cannot be a file; said before anything is loaded.
    """

    SHOWN = 3

    def __init__(self, path: Path) -> None:
        self.path, self.count, self.first = path, 0, list[Failure]()
        self._file: TextIO | None = None
        self._lock = threading.Lock()
        folder = next(parent for parent in path.absolute().parents if os.path.exists(parent))
        if os.path.isdir(path) or not folder.is_dir() or not os.access(folder, os.W_OK):
            found = "is a directory" if os.path.isdir(path) else f"cannot be made in {folder}"
            raise InputError(f"{path} {found}; the failures are listed in a file, pass another one with --failures")

    def add(self, failures: Sequence[Failure]) -> None:
        if not failures:
            return
        with self._lock:
            file = self._open()
            file.writelines(json.dumps(asdict(failure), ensure_ascii=False) + "\n" for failure in failures)
            self.first += failures[: self.SHOWN - len(self.first)]
            self.count += len(failures)

    def _open(self) -> TextIO:
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("w", encoding="utf-8", errors="replace")
        return self._file

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def send_bulk(api: ClusterApi, index: str, lines: Sequence[Line], *, backoff: float = 0.5) -> list[Failure]:
    """Index the documents and return those that failed; only a failure of the whole cluster raises."""
    return [failure for body, part in _bodies(lines) for failure in _send_one(api, index, body, part, backoff)]


def _send_one(api: ClusterApi, index: str, body: bytes, lines: list[Line], backoff: float) -> list[Failure]:
    failed: list[Failure] = []
    for attempt in range(TRIES):
        results = api.bulk(index, body)
        busy: list[Line] = []
        for line, result in zip(lines, results, strict=True):
            status = int(result["status"])
            if status in BUSY and attempt < TRIES - 1:
                busy.append(line)
            elif status >= 300:
                failed.append(Failure(line.id, f"{status}: {reason_of(result)}"))
        if not busy:
            break
        wait = min(backoff * 2**attempt, _LONGEST_WAIT)
        log.debug("%d of %d documents again in %.1f s", len(busy), len(lines), wait)
        time.sleep(wait)
        lines, body = busy, b"".join(_encoded(line) for line in busy)
    return failed


def _bodies(lines: Sequence[Line]) -> Iterator[tuple[bytes, list[Line]]]:
    body, part = bytearray(), list[Line]()
    for line in lines:
        encoded = _encoded(line)
        if part and len(body) + len(encoded) > MAX_BYTES:
            yield bytes(body), part
            body, part = bytearray(), []
        body += encoded
        part.append(line)
    if part:
        yield bytes(body), part


def _encoded(line: Line) -> bytes:
    action = {"_id": line.id} if line.ingest else {"_id": line.id, "pipeline": "_none"}
    return ndjson([{"index": action}, line.source])
