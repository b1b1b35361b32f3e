"""Packaged graphs answer the cases on threads of their own while the next one is still exported.

Both runtimes leave Python's lock alone while they compute, so that one graph is computed beside another's export.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from types import TracebackType
from typing import ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from osparse.packager.compare.parity import Case, Runner, remembering
from osparse.runtime.processors import cores

P = ParamSpec("P")
T = TypeVar("T")


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

    def __enter__(self) -> Ahead:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the threads; after an error each ends with the case that it is at, and what waits is left out."""
        self._stopped.set()
        self._pool.shutdown(cancel_futures=True)

    def submit(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call a function behind the graphs that were given before."""
        return self._pool.submit(function, *args, **kwargs)

    def open(self, name: str, graph: Callable[[], Runner | None]) -> None:
        """Open a graph and run it on the cases; ``graph`` gives None where its runtime is not installed."""
        self._graphs[name] = self._pool.submit(self._answer, graph)

    def runners(self) -> dict[str, Runner]:
        """Each graph that can be run here, when it has answered; raises what opening and running it raised."""
        return {name: answered.run for name, answered in self._answered().items()}

    def answers(self) -> dict[str, list[NDArray[np.float32]]]:
        """What each of them answered: a (B, V) for each case; raises the same."""
        return {name: answered.weights for name, answered in self._answered().items()}

    def _answered(self) -> dict[str, _Answered]:
        graphs = {name: future.result() for name, future in self._graphs.items()}
        return {name: answered for name, answered in graphs.items() if answered is not None}

    def _answer(self, graph: Callable[[], Runner | None]) -> _Answered | None:
        opened = graph()
        if opened is None:
            return None
        run = remembering(opened)
        return _Answered(run, [run(case.ids, case.mask) for case in self.cases if not self._stopped.is_set()])


class _Answered:
    """A graph with its answers to the cases."""

    def __init__(self, run: Runner, weights: list[NDArray[np.float32]]) -> None:
        self.run, self.weights = run, weights
