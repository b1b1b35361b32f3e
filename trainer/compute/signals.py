"""Ctrl-C and SIGTERM ask a run to stop; the loop does so after its step, with a checkpoint."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SAME_REQUEST = 2.0
"""Seconds within which signals are one request: a Ctrl-C comes from the terminal and from torchrun too."""

log = logging.getLogger("osparse.trainer.compute.signals")


@contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set; a second request ends at once. Does nothing outside the main thread."""
    stopped = threading.Event()
    asked_at = 0.0
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return

    def ask_to_stop(number: int, frame: FrameType | None) -> None:
        nonlocal asked_at
        if stopped.is_set():
            if time.monotonic() - asked_at >= SAME_REQUEST:
                raise KeyboardInterrupt
            return
        asked_at = time.monotonic()
        log.warning("stopping after this step; a checkpoint will be written")
        stopped.set()

    before = {number: signal.signal(number, ask_to_stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
