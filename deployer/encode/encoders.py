"""Encoders on this machine: in this process for a few documents, in worker processes for many."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from osparse.deployer.encode.worker import Encoded, FeatureEncoder, Form
from osparse.errors import OsparseError
from osparse.runtime.processors import cores

MODULE = "osparse.deployer.encode.worker"
PIECE = 32
"""Texts in one request to a worker, of about the same length."""
FEW = 256
"""Up to so many documents a process of their own does not pay."""


class FeatureSource(Protocol):
    """Gives the vector of each text, in one form; thread-safe."""

    def encode(self, ids: Sequence[str], texts: Sequence[str]) -> list[Encoded]: ...

    def close(self) -> None: ...


def open_source(
    archive: Path,
    form: Form,
    workers: int | None,
    total: int | None,
    prune: str | None = None,
    window_weight: float | None = None,
) -> FeatureSource:
    """``workers`` processes; None takes one per core, or none at all for a few documents."""
    if workers is None and total is not None and total <= FEW:
        return OneProcess(FeatureEncoder(archive, form, prune, window_weight))
    return WorkerPool(archive, form, workers or cores(), prune, window_weight)


class OneProcess:
    """Encodes where it is called, one call at a time."""

    def __init__(self, encoder: FeatureEncoder) -> None:
        self._encoder = encoder
        self._lock = threading.Lock()

    def encode(self, ids: Sequence[str], texts: Sequence[str]) -> list[Encoded]:
        with self._lock:
            return self._encoder.encode(texts)

    def close(self) -> None:
        pass


class WorkerPool:
    """Processes that encode with one thread each; started when there is work for them."""

    def __init__(
        self, archive: Path, form: Form, size: int, prune: str | None = None, window_weight: float | None = None
    ) -> None:
        choices = [prune or "", str(window_weight or 0)]
        self._command = [sys.executable, "-P", "-m", MODULE, str(archive), form, *choices]
        self._threads = ThreadPoolExecutor(size, "osparse-encode")
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._all: list[_Worker] = []
        self._lock = threading.Lock()
        self._closed = False

    def encode(self, ids: Sequence[str], texts: Sequence[str]) -> list[Encoded]:
        """In the order given.

        Raises:
            OsparseError: a worker died; the message names the documents it had.
        """
        order = sorted(range(len(texts)), key=lambda i: (-len(texts[i]), i))
        pieces = [order[start : start + PIECE] for start in range(0, len(order), PIECE)]
        futures = [
            self._threads.submit(self._piece, [ids[i] for i in piece], [texts[i] for i in piece]) for piece in pieces
        ]
        encoded: list[Encoded] = [Encoded(b"", False)] * len(texts)
        for piece, future in zip(pieces, futures, strict=True):
            for i, vector in zip(piece, future.result(), strict=True):
                encoded[i] = vector
        return encoded

    def close(self) -> None:
        """End every worker at once; what they had under way is lost."""
        with self._lock:
            self._closed = True
            workers = list(self._all)
        for worker in workers:
            worker.kill()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for worker in workers:
            worker.release()

    def _piece(self, ids: list[str], texts: list[str]) -> list[Encoded]:
        worker = self._free()
        encoded = worker.encode(ids, texts)
        self._idle.put(worker)
        return encoded

    def _free(self) -> _Worker:
        """An idle worker, or a new one: there are as many threads as there may be workers."""
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            with self._lock:
                if self._closed:
                    raise OsparseError("the encoding was stopped") from None
                worker = _Worker(self._command)
                self._all.append(worker)
            return worker


class _Worker:
    """One process and the pipe to it; used by one thread at a time."""

    def __init__(self, command: Sequence[str]) -> None:
        self._said = tempfile.TemporaryFile()
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, env=_environment()
            )
        except OSError as problem:
            self._said.close()
            raise OsparseError(f"cannot start a process of {command[0]}: {problem.strerror}") from None

    def encode(self, ids: Sequence[str], texts: Sequence[str]) -> list[Encoded]:
        requests, answers = self._process.stdin, self._process.stdout
        if requests is None or answers is None:
            raise OsparseError("an encoder process has no pipe")
        try:
            requests.write(json.dumps(texts).encode() + b"\n")
            requests.flush()
            kind, _, rest = answers.readline().partition(b" ")
            lines = [answers.readline() for _ in range(int(rest))] if kind == b"ok" else []
        except (OSError, ValueError):  # a broken pipe, half a line
            raise self._death(ids) from None
        if kind == b"error":
            raise OsparseError(str(json.loads(rest)))
        if kind != b"ok" or not all(line.endswith(b"\n") for line in lines):
            raise self._death(ids)
        return [Encoded(line[2:-1], line.startswith(b"1")) for line in lines]

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def release(self) -> None:
        self._said.close()
        for pipe in (self._process.stdin, self._process.stdout):
            try:
                if pipe is not None:
                    pipe.close()
            except OSError:
                continue  # it held bytes for the process that is gone

    def _death(self, ids: Sequence[str]) -> OsparseError:
        code = self._process.wait()
        self._said.seek(0)
        said = " ".join(self._said.read()[-300:].decode("utf-8", "replace").split())
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        named = ", ".join(i[:60] for i in ids)
        return OsparseError(
            f"an encoder process {how}{f' ({said})' if said else ''} while it had the documents {named}; none of them "
            "was stored. If memory is short, use fewer `workers`; then run the same command again, which continues"
        )


def _environment() -> dict[str, str]:
    """Each worker is one of many: libraries must not start a thread per core in each."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
