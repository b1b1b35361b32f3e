"""Packaged graphs answer the cases on threads of their own while the next one is still exported.

Both runtimes leave Python's lock alone while they compute, so that one graph is computed beside another's export. An
export holds the lock all the time and gives it up 2,000 times a second, in place of Python's 200: a graph waits for it
before and after each of its cases.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import Event
from types import TracebackType
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from osparse.packager.compare.parity import Case, Runner, remembering
from osparse.runtime.processors import cores

Item = TypeVar("Item")
Result = TypeVar("Result")
SWITCH_SECONDS = 5e-4
"""After so long a thread that runs Python gives up its lock to one that waits."""


class Shared(Generic[Item, Result]):
    """A function of each of some items, computed behind what the threads were given before."""

    def __init__(self, pool: ThreadPoolExecutor, function: Callable[[Item], Result], items: Sequence[Item]) -> None:
        self._function = function
        self._begun = [(item, pool.submit(function, item)) for item in items]

    def results(self) -> list[Result]:
        """In the order of the items; the caller computes, from the last one on, what no thread has begun.

        Raises what the function raised for the first item that it raised for.
        """
        taken: dict[int, Future[Result]] = {}
        for number, (item, future) in reversed([*enumerate(self._begun)]):
            if future.cancel():
                taken[number] = _called(partial(self._function, item))
        return [taken.get(number, future).result() for number, (_, future) in enumerate(self._begun)]


def _called(function: Callable[[], Result]) -> Future[Result]:
    """What it gives or raises."""
    future = Future[Result]()
    try:
        future.set_result(function())
    except Exception as problem:  # noqa: BLE001 - raised again by result()
        future.set_exception(problem)
    return future


class Ahead:
    """Runs graphs on some cases as soon as they are exported.

    with Ahead(cases, 3) as ahead:
        ahead.open("onnx", lambda: form.open(data, "onnx"))
        ahead.runners(), ahead.answers()
    """

    def __init__(self, cases: Sequence[Case], tasks: int) -> None:
        """``tasks``: how many there will be; a thread for each, as long as one core is left for the caller."""
        self.cases = cases
        self._stopped = Event()
        self._pool = ThreadPoolExecutor(max(1, min(tasks, cores() - 1)), thread_name_prefix="osparse")
        self._graphs: dict[str, Future[_Answered | None]] = {}
        self._interval = sys.getswitchinterval()

    def __enter__(self) -> Ahead:
        sys.setswitchinterval(min(SWITCH_SECONDS, self._interval))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the threads; after an error each ends with the case that it is at, and what waits is left out."""
        sys.setswitchinterval(self._interval)
        self._stopped.set()
        self._pool.shutdown(cancel_futures=True)

    def share(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Shared[Item, Result]:
        """Compute a function of each item behind the graphs that were given before."""
        return Shared(self._pool, function, items)

    def open(self, name: str, graph: Callable[[], Runner | None]) -> None:
        """Open a graph here and run it on the cases; ``graph`` gives None where its runtime is not installed.

        It is opened by the caller: torch's warnings are silenced meanwhile, which concerns every thread.
        """
        self._graphs[name] = self._pool.submit(self._answer, _called(graph))

    def runners(self) -> dict[str, Runner]:
        """Each graph that can be run here, when it has answered; raises what opening and running it raised."""
        return {name: answered.run for name, answered in self._answered().items()}

    def answers(self) -> dict[str, list[NDArray[np.float32]]]:
        """What each of them answered: a (B, V) for each case; raises the same."""
        return {name: answered.weights for name, answered in self._answered().items()}

    def _answered(self) -> dict[str, _Answered]:
        graphs = {name: future.result() for name, future in self._graphs.items()}
        return {name: answered for name, answered in graphs.items() if answered is not None}

    def _answer(self, opened: Future[Runner | None]) -> _Answered | None:
        graph = opened.result()
        if graph is None:
            return None
        run = remembering(graph)
        return _Answered(run, [run(case.ids, case.mask) for case in self.cases if not self._stopped.is_set()])


class _Answered:
    """A graph with its answers to the cases."""

    def __init__(self, run: Runner, weights: list[NDArray[np.float32]]) -> None:
        self.run, self.weights = run, weights
