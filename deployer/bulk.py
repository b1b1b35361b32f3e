"""Bulk requests: split by size, documents the cluster is too busy for are sent again, the others' reasons are kept."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from osparse.deployer.cluster_api import ClusterApi, ndjson
from osparse.deployer.connection import reason_of

log = logging.getLogger("osparse.deployer.bulk")

MAX_BYTES = 5_000_000
"""Of one bulk body, unless a single document is larger."""
BUSY = (429, 503)
TRIES = 8
_LONGEST_WAIT = 10.0

Line = tuple[str, dict[str, Any]]
"""Document id and what is stored of it."""


@dataclass(frozen=True)
class Failure:
    """A document that was not indexed, and why."""

    id: str
    reason: str


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
                failed.append(Failure(line[0], f"{status}: {reason_of(result)}"))
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
    return ndjson([{"index": {"_id": line[0]}}, line[1]])
