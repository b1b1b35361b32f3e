"""Work that torch does on the CPU, one piece per thread: pieces do not wait for each other as the threads of one do."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from threading import Barrier, Lock
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


_STARTING = Lock()


def side_by_side(work: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """``map(work, items)`` on ``threads`` threads; at most two results more than threads are held.

    torch computes on one thread within each; the number of threads it has elsewhere stays.
    """
    if threads == 1:
        yield from map(work, items)
        return
    waiting: deque[Future[Result]] = deque()
    rest = iter(items)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="osparse")
    try:
        _start(pool, threads)
        waiting.extend(pool.submit(work, item) for item in islice(rest, threads + 1))
        while waiting:
            done = waiting.popleft().result()
            waiting.extend(pool.submit(work, item) for item in islice(rest, 1))
            yield done
    finally:
        pool.shutdown(cancel_futures=True)


def _start(pool: ThreadPoolExecutor, threads: int) -> None:
    """Start all threads of the pool, in each of which torch computes on one.

    ``torch.set_num_threads`` sets the number of the calling thread and of threads that have not used torch yet; when
    all of the pool have their own, the latter is put back.
    """
    before, all_started = torch.get_num_threads(), Barrier(threads)

    def start() -> None:
        torch.get_num_threads()  # else torch would overwrite the number when this thread first computes
        torch.set_num_threads(1)
        all_started.wait()

    with _STARTING:
        for started in [pool.submit(start) for _ in range(threads)]:
            started.result()
        torch.set_num_threads(before)
