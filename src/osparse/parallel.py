"""Work that torch does on the CPU, one piece per thread: pieces do not wait for each other as the threads of one do."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def side_by_side(work: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """``map(work, items)`` on ``threads`` threads; at most two results more than threads are held.

    torch computes on one thread within each, and everywhere else until the iterator ends or is closed.
    """
    if threads == 1:
        yield from map(work, items)
        return
    torch.set_num_threads(1)
    waiting: deque[Future[Result]] = deque()
    rest = iter(items)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="osparse")
    try:
        waiting.extend(pool.submit(work, item) for item in islice(rest, threads + 1))
        while waiting:
            done = waiting.popleft().result()
            waiting.extend(pool.submit(work, item) for item in islice(rest, 1))
            yield done
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
