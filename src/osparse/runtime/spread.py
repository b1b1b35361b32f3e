"""Pieces of work spread over processes, with the results in the order of the work."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context
from typing import Any, TypeVar

from osparse.errors import InputError, OsparseError

W = TypeVar("W")
R = TypeVar("R")


def check_processes(processes: int) -> None:
    """Raise :class:`InputError` for a number of processes below 1."""
    if processes < 1:
        raise InputError(f"`processes` must be at least 1, got {processes}")


def spread(
    function: Callable[[W], R],
    work: Iterable[W],
    processes: int,
    *,
    start: Callable[..., None],
    setup: tuple[Any, ...],
) -> Iterator[R]:
    """``function`` of each piece of work; at most one piece more than processes is held, whatever there is to do.

    The processes are spawned: the caller's script must start its work under ``if __name__ == "__main__"``.

    Args:
        function: Of a module, as ``start`` is, so that a new process can import it.
        start: Called once in each process with ``setup``.

    Raises:
        OsparseError: a process was killed, as the system does where memory runs out.
    """
    pending = iter(work)
    with ProcessPoolExecutor(processes, get_context("spawn"), start, setup) as pool:
        waiting = deque(pool.submit(function, piece) for piece in islice(pending, processes + 1))
        try:
            while waiting:
                result = waiting.popleft().result()
                waiting.extend(pool.submit(function, piece) for piece in islice(pending, 1))
                yield result
        except BrokenProcessPool:
            raise OsparseError(
                f"one of {processes} processes ended before its work was done: it could not start, or the system "
                "killed it for its memory; try fewer processes, and in a script call osparse under if __name__ == "
                '"__main__"'
            ) from None
        finally:
            for future in waiting:
                future.cancel()
