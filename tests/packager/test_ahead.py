"""Graphs that answer while others are exported: the same answers, the same errors, and an end that waits for none."""

from __future__ import annotations

import sys
from threading import Event, current_thread, main_thread

import numpy as np
import pytest
from numpy.typing import NDArray

from osparse.errors import BundleError
from osparse.packager.compare import ahead
from osparse.packager.compare.ahead import Ahead
from osparse.packager.compare.parity import answers, make_cases

CASES = make_cases([[2, 3], [2, 9, 9, 3]], range(5, 50), 16)
Ids = NDArray[np.int64]


def graph(ids: Ids, mask: Ids) -> NDArray[np.float32]:
    return np.asarray((ids * mask).sum(1, keepdims=True), np.float32)


def broken() -> None:
    raise BundleError("it cannot be opened")


def test_it_gives_what_the_graphs_give() -> None:
    with Ahead(CASES, 2) as beside:
        beside.open("one", lambda: graph)
        beside.open("other", lambda: lambda ids, mask: graph(ids, mask) + 1)
        beside.open("absent", lambda: None)
        given, runners = beside.answers(), beside.runners()
    assert list(given) == list(runners) == ["one", "other"]
    for one, other, expected in zip(given["one"], given["other"], answers(graph, CASES), strict=True):
        assert np.array_equal(one, expected) and np.array_equal(other, expected + 1)
    assert runners["one"](CASES[0].ids, CASES[0].mask) is given["one"][0], "a text is computed once"


def test_an_error_comes_when_the_answers_are_asked_for() -> None:
    with Ahead(CASES, 1) as beside:
        beside.open("broken", broken)
        with pytest.raises(BundleError, match="cannot be opened"):
            beside.answers()


def test_after_an_error_no_further_case_is_computed() -> None:
    before = sys.getswitchinterval()
    running, go_on = Event(), Event()
    computed: list[int] = []

    def slow(ids: Ids, mask: Ids) -> NDArray[np.float32]:
        running.set()
        go_on.wait()
        computed.append(len(ids))
        return graph(ids, mask)

    beside = Ahead(CASES, 1)
    with pytest.raises(KeyboardInterrupt), beside:
        beside.open("one", lambda: slow)
        beside.open("other", lambda: slow)
        running.wait()
        beside._stopped.set()  # as leaving does, which then waits for the case
        go_on.set()
        raise KeyboardInterrupt
    assert len(computed) == 1 and sys.getswitchinterval() == before


def test_the_caller_takes_what_no_thread_has_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "cores", lambda: 2)
    begun, go_on = Event(), Event()
    by_caller: list[int] = []

    def square(number: int) -> int:
        if current_thread() is main_thread():
            by_caller.append(number)
            go_on.set()
        else:
            begun.set()
            go_on.wait()
        if number == 3:
            raise BundleError("three")
        return number * number

    with Ahead(CASES, 4) as beside:
        shared = beside.share(square, [0, 1, 2])
        begun.wait()
        assert shared.results() == [0, 1, 4] and by_caller == [2, 1]
        failing = beside.share(square, [1, 3])
        with pytest.raises(BundleError, match="three"):
            failing.results()
