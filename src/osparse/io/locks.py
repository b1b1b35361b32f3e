"""File locks between processes: the kernel frees them when their holder ends, however it ends.

A process id in a file may be another process's by now; a held lock cannot lie.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from osparse.errors import NodeError

POLL_SECONDS = 0.05

log = logging.getLogger("osparse.io.locks")


def acquire(path: Path, wait: float) -> int | None:
    """Take the lock within ``wait`` seconds; the descriptor that holds it, or None if another process kept it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    until = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() >= until:
                os.close(descriptor)
                return None
            time.sleep(POLL_SECONDS)


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def held(path: Path, wait: float, holder: str) -> Iterator[None]:
    """Hold the lock while the block runs; ``holder`` says who else might have it.

    Raises NodeError if it cannot be had within ``wait`` seconds.
    """
    descriptor = acquire(path, 0)
    if descriptor is None:
        log.info("waiting for %s", holder)
        descriptor = acquire(path, wait)
    if descriptor is None:
        raise NodeError(f"waited {wait:.0f} s for {holder}; stop it, or run again when it is done")
    try:
        yield
    finally:
        os.close(descriptor)
