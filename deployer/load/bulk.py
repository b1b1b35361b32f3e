"""Bulk requests: split by size, what the cluster was too busy for or never answered is sent again, reasons are kept.

Sending twice does no harm: every line names its document's id.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, TextIO, TypeVar

from osparse.deployer.cluster.api import ClusterApi, ndjson
from osparse.deployer.cluster.client import reason_of
from osparse.deployer.cluster.reasons import meaning_of
from osparse.deployer.load.documents import HASH_FIELD
from osparse.deployer.mlcommons.remote_faults import may_be_of_another, passes
from osparse.errors import ClusterBusyError, ClusterError, ClusterUnreachableError, InputError

log = logging.getLogger("osparse.deployer.load.bulk")

MAX_BYTES = 5_000_000
"""Of one bulk body, unless a single document is larger."""
BUSY = (429, 503)
TRIES = 8
ALONE = 20
"""Documents of a call that failed which are sent alone before the rest of it is given up."""
BACKOFF = 0.5
"""Seconds before the first repetition; doubles each time, up to :data:`LONGEST_WAIT`. A cluster that names a time
(Retry-After) is given that time, by :meth:`Cluster.request`."""
LONGEST_WAIT = 10.0

_SCRIPT = b'"script":{"lang":"painless","source":"ctx._source = params.source","params":{"source":'
_UPSERT = b'"scripted_upsert":true,"upsert":{},'
"""Writes the document where there is none; the server refuses it beside a version."""

_PLACE = re.compile(r"^.*?(?::| row )\d+: ")
"""path:line, or the row of a table, that a complaint about a row begins with."""

T = TypeVar("T")


class Version(NamedTuple):
    """Of a stored document: every write changes it."""

    seq_no: int
    primary_term: int


class Line(NamedTuple):
    """A document to send, or to delete where ``source`` is None."""

    id: str
    source: dict[str, Any] | None
    ingest: bool = True
    """Whether it goes through the index's default ingest pipeline."""
    member: bytes = b""
    """JSON that joins ``source`` as it is: ``"name":value``."""
    version: Version | None = None
    """Replace this version of the document and no other: another one is a conflict."""
    scripted: bool = False
    """Write by a script. A ``semantic`` field encodes whatever is indexed, past any ``pipeline``, and replaces the
    vector that the document brings; what a script writes it leaves alone (measured on 3.4)."""


@dataclass(frozen=True)
class Failure:
    """A document that was not indexed, and why."""

    id: str
    reason: str

    @property
    def is_conflict(self) -> bool:
        """Whether somebody else wrote the document, or deleted it, since it was looked at."""
        return self.reason.startswith("409:") or (self.reason.startswith("404:") and "document missing" in self.reason)


class FailureLog:
    """Failures as they come: each in the file, only counts and the first few in memory; thread-safe.

    The file is written from its start at the first failure, and not touched if there is none.

    Raises:
        InputError: the path cannot be a file; said before anything is loaded.
    """

    SHOWN = 3
    KINDS = 20
    """Complaints that are counted one by one."""

    def __init__(self, path: Path) -> None:
        self.path, self.count, self.first = path, 0, list[Failure]()
        self.complaints: Counter[str] = Counter()
        """Complaint without its place -> how many rows have it; of the first few kinds."""
        self._file: TextIO | None = None
        self._lock = threading.Lock()
        try:
            _try_to_write(path)
        except OSError as problem:
            found = "is a directory" if os.path.isdir(path) else f"cannot be made: {problem.strerror or problem}"
            raise InputError(f"{path} {found}; `failures` must be a file that can be written") from None

    def add(self, failures: Sequence[Failure]) -> None:
        if not failures:
            return
        with self._lock:
            file = self._open()
            file.writelines(json.dumps(asdict(failure), ensure_ascii=False) + "\n" for failure in failures)
            self.first += failures[: self.SHOWN - len(self.first)]
            self.count += len(failures)
            for complaint in (_PLACE.sub("", failure.reason) for failure in failures):
                if complaint in self.complaints or len(self.complaints) < self.KINDS:
                    self.complaints[complaint] += 1

    def _open(self) -> TextIO:
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("w", encoding="utf-8", errors="replace")
        return self._file

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _try_to_write(path: Path) -> None:
    """Leaves everything as it was; raises OSError. What is no plain file, such as a pipe, is not tried."""
    if path.exists() and not path.is_file() and not path.is_dir():
        return
    missing = [parent for parent in path.absolute().parents if not parent.exists()]
    there = os.path.lexists(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("ab").close()
        if not there:
            path.unlink(missing_ok=True)  # another load in the same folder may try the same
    finally:
        for parent in missing:  # the innermost first; one that another process filled meanwhile stays
            with contextlib.suppress(OSError):
                parent.rmdir()


def patiently(call: Callable[[], T], backoff: float | None = None) -> T:
    """``call()``, again and again while the cluster is busy or cannot be reached; only for calls that may be repeated.

    Raises:
        ClusterBusyError, ClusterUnreachableError: after :data:`TRIES` tries.
    """
    for attempt in range(TRIES):
        try:
            return call()
        except (ClusterBusyError, ClusterUnreachableError) as problem:
            if attempt == TRIES - 1:
                raise
            _wait(attempt, backoff, str(problem))
    raise ValueError("TRIES must be at least 1")


def _wait(attempt: int, backoff: float | None, why: str) -> None:
    wait = min((BACKOFF if backoff is None else backoff) * 2**attempt, LONGEST_WAIT) * random.uniform(0.5, 1)
    log.debug("again in %.1f s: %s", wait, why)
    time.sleep(wait)


def send_bulk(api: ClusterApi, index: str, lines: Sequence[Line], *, backoff: float | None = None) -> list[Failure]:
    """Index or delete the documents and return those that failed; only a failure of the whole cluster raises.

    Deleting what is not there is no failure.
    """
    return [failure for body, part in _bodies(lines) for failure in _send_one(api, index, body, part, backoff)]


class _TooLargeError(Exception):
    """The cluster, or a proxy before it, refuses a body of this many bytes (413)."""


def _send_one(api: ClusterApi, index: str, body: bytes, lines: list[Line], backoff: float | None) -> list[Failure]:
    failed: list[Failure] = []
    for attempt in range(TRIES):
        try:
            results = patiently(functools.partial(_post, api, index, body, lines), backoff)
        except _TooLargeError:
            return failed + _send_halves(api, index, body, lines, backoff)
        again: list[Line] = []
        together: list[Line] = []
        for line, result in zip(lines, results, strict=True):
            refusal = _refusal(line, result)
            if refusal is None:
                continue
            if refusal.passes and attempt < TRIES - 1:
                again.append(line)
            elif len(lines) > 1 and may_be_of_another(refusal.failure.reason):
                together.append(line)
            else:
                failed.append(refusal.failure)
        failed += _send_alone(api, index, together, backoff)
        if not again:
            break
        _wait(attempt, backoff, f"{len(again)} of {len(lines)} documents were refused for a reason that passes")
        lines, body = again, b"".join(_encoded(line) for line in again)
    return failed


class _Refusal(NamedTuple):
    failure: Failure
    passes: bool
    """Whether the same document may be accepted a moment later."""


def _refusal(line: Line, result: Mapping[str, Any]) -> _Refusal | None:
    """None for a document that was stored or is gone, as asked.

    An item with an ``error`` was not stored, whatever its status: that of a remote encoder's answer, maybe 200.
    """
    status = int(result["status"])
    if "error" not in result and (status < 300 or (status == 404 and line.source is None)):
        return None
    reason = reason_of(result)
    known = meaning_of(reason)
    passing = (status in BUSY or passes(reason)) and not (known and known.lasting)
    return _Refusal(Failure(line.id, f"{status}: {reason}{f'; {known.advice}' if known else ''}"), passing)


def _send_alone(api: ClusterApi, index: str, lines: list[Line], backoff: float | None) -> list[Failure]:
    """Each in a request of its own, because one of them may have spoilt the call of the others.

    Where the first of them are all refused alike, it is the encoder that fails, and the rest is not tried.
    """
    failed: list[Failure] = []
    for sent, line in enumerate(lines, 1):
        failed += _send_one(api, index, _encoded(line), [line], backoff)
        reasons = {failure.reason for failure in failed}
        if sent == ALONE and len(failed) == ALONE and len(reasons) == 1:
            return failed + [Failure(rest.id, reasons.copy().pop()) for rest in lines[ALONE:]]
    return failed


def _send_halves(api: ClusterApi, index: str, body: bytes, lines: list[Line], backoff: float | None) -> list[Failure]:
    """What was too large at once, in two; a document that is too large alone is a failure of its own."""
    if len(lines) == 1:
        reason = (
            f"413: the document alone makes a request of {len(body):,} bytes, and the cluster or a proxy before it "
        )
        return [Failure(lines[0].id, reason + "refuses that size; raise its limit, or shorten the text")]
    middle = len(lines) // 2
    halves = lines[:middle], lines[middle:]
    log.debug("%d documents in %d bytes were refused (413): sent again in halves", len(lines), len(body))
    return [
        failure for half in halves for failure in _send_one(api, index, b"".join(map(_encoded, half)), half, backoff)
    ]


def _post(api: ClusterApi, index: str, body: bytes, lines: Sequence[Line]) -> list[dict[str, Any]]:
    """One result per line, in the lines' order: items that a pipeline refuses come in another one."""
    answer = api.bulk(index, body)
    if answer.status == 413:
        raise _TooLargeError(len(body))
    items = answer.body.get("items") if isinstance(answer.body, dict) else None
    results = [next(iter(item.values())) for item in items] if isinstance(items, list) else []
    by_id = {str(result.get("_id")): result for result in results}
    if [*by_id] != [line.id for line in lines] and {*by_id} == {line.id for line in lines}:
        results = [by_id[line.id] for line in lines]
    if len(results) != len(lines):
        raise ClusterError(
            f"{api.cluster.url} answers _bulk not as OpenSearch does: {len(lines)} results were expected"
        )
    return results


def stored_hashes(api: ClusterApi, index: str, ids: Collection[str]) -> dict[str, str | None]:
    """Document id -> its content hash, None where it has none, of those documents that are in the index.

    Raises:
        ClusterError: the index is gone.
    """
    params = {"_source": "false", "stored_fields": HASH_FIELD}
    documents = stored_documents(api, index, ids, params)
    return {document["_id"]: document.get("fields", {}).get(HASH_FIELD, [None])[0] for document in documents}


def stored_documents(
    api: ClusterApi, index: str, ids: Collection[str], params: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """Those of the documents that are in the index, as ``_mget`` shows them.

    Raises:
        ClusterError: the index is gone.
    """
    for document in patiently(lambda: api.get_documents(index, ids, params)):
        if "error" in document:
            raise ClusterError(f"{api.cluster.url} cannot look into {index}: {reason_of(document)}")
        if document.get("found"):
            yield document


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
    if line.source is None:
        return ndjson([{"delete": {"_id": line.id}}])
    action: dict[str, Any] = {"_id": line.id} if line.ingest else {"_id": line.id, "pipeline": "_none"}
    if line.version is not None:
        action |= {"if_seq_no": line.version.seq_no, "if_primary_term": line.version.primary_term}
    action_line, before, after = ndjson([{"index": action}]), b"", b""
    if line.scripted:
        action.pop("pipeline", None)
        upsert = _UPSERT if line.version is None else b""
        action_line, before, after = ndjson([{"update": action}]), b"{" + upsert + _SCRIPT, b"}}}"
    source = ndjson([line.source])[:-1]
    if line.member:
        source = source[:-1] + (b"," if line.source else b"") + line.member + b"}"
    return action_line + before + source + after + b"\n"
