from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from osparse.errors import CheckError
from osparse.formula.head import Head
from osparse.formula.pruning import prune
from osparse.packager.compare.parity import (
    TOLERANCE,
    Case,
    compare,
    lone_words,
    make_cases,
    padding_leak,
    remembering,
    require_parity,
)
from osparse.packager.compare.probes import _is_sharp

CASE = Case("one", np.zeros((1, 1), np.int64), np.ones((1, 1), np.int64))
WANTED = np.array([[0.0, 0.5, 2.0, 1.0]], np.float32)


def changed(column: int, value: float) -> np.ndarray:
    found = WANTED.copy()
    found[0, column] = value
    return found


@pytest.mark.parametrize(
    ("found", "ok"),
    [
        (WANTED, True),
        (changed(2, 2.00009), True),
        (changed(2, 2.0002), False),
        (changed(0, 5e-6), True),
        (changed(0, 2e-3), False),
        (changed(1, np.nan), False),
        (changed(1, np.inf), False),
        (WANTED[:, :3], False),
    ],
)
def test_what_is_equal(found: np.ndarray, ok: bool) -> None:
    assert compare(CASE, found, WANTED, Head()).ok is ok


def test_only_a_weight_on_the_edge_of_pruning_may_fall_on_either_side() -> None:
    assert compare(CASE, changed(1, 0.0), WANTED, Head(prune_ratio=0.25)).ok  # 0.25 x 2.0 is the floor
    assert not compare(CASE, changed(1, 0.0), WANTED, Head(prune_ratio=0.2)).ok
    assert not compare(CASE, changed(3, 0.0), WANTED, Head(prune_ratio=0.25)).ok
    assert compare(CASE, changed(0, 0.50005), WANTED, Head(top_k=3)).ok  # ties with the third
    assert not compare(CASE, changed(0, 0.7), WANTED, Head(top_k=3)).ok
    assert not compare(CASE, changed(1, 0.5), changed(1, 0.4998), Head(prune_ratio=0.25)).ok  # on both: no excuse
    own = replace(CASE, ids=np.array([[0, 1]]), mask=np.ones((1, 2), np.int64))
    assert not compare(own, changed(1, 0.0), WANTED, Head(top_k=3, keep_own=True)).ok  # the document's own is never cut


def test_a_quantised_encoder_may_differ_by_its_measured_loss() -> None:
    found = changed(2, 2.05)
    assert not compare(CASE, found, WANTED, Head(), TOLERANCE).ok
    assert compare(CASE, found, WANTED, Head(), 0.1).ok


def test_words_that_one_side_lacks_count_above_the_floor() -> None:
    assert lone_words({"a": 1.0, "b": 9e-4}, {"a": 1.0}) == []
    assert lone_words({"a": 1.0}, {"a": 1.0, "b": 2e-3}) == ["b"]


def test_padding_that_leaks_is_seen() -> None:
    def sums(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return np.asarray((ids * mask).sum(1, keepdims=True), np.float32)

    def leaks(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return np.asarray(sums(ids, mask) + ids.shape[1], np.float32)

    cases = make_cases([[2, 3], [2, 9, 9, 3]], range(5, 50), 16)
    assert padding_leak(sums, cases) == 0 and padding_leak(leaks, cases) > 1


def test_cases_cover_lengths_batches_and_padding() -> None:
    cases = make_cases([[2, 3], [2, 9, 9, 3]], range(5, 50), 512)
    assert {1, 2, 512} <= {case.ids.shape[1] for case in cases}
    assert set(range(1, 9)) == {len(case.ids) for case in cases}
    assert any(not case.mask.all() for case in cases)
    assert all(case.ids.dtype == case.mask.dtype == np.int64 for case in cases)
    again = make_cases([[2, 3], [2, 9, 9, 3]], range(5, 50), 512)
    assert all((a.ids == b.ids).all() for a, b in zip(cases, again, strict=True))


def test_a_table_says_what_differed() -> None:
    with pytest.raises(CheckError, match=r"(?s)1 comparisons.*onnx  +one  +0\.5 +0") as caught:
        require_parity({"torchscript": [WANTED], "onnx": [changed(2, 2.5)]}, [WANTED], [CASE], Head())
    assert caught.value.exit_code == 3 and "torchscript" not in str(caught.value)


@pytest.mark.parametrize(
    ("head", "weights", "sharp"),
    [
        (Head(), [1.0, 1e-9], True),
        (Head(prune_ratio=0.5), [1.0, 0.6, 0.4], True),
        (Head(prune_ratio=0.5), [1.0, 0.500001, 0.4], False),
        (Head(prune_ratio=0.5), [1.0, 0.6, 0.499999], False),
        (Head(top_k=2), [1.0, 0.6, 0.4], True),
        (Head(top_k=2), [1.0, 0.6, 0.599999], False),
        (Head(top_k=3), [1.0, 0.6, 0.599999], True),
    ],
)
def test_a_probe_has_no_weight_on_the_edge(head: Head, weights: list[float], sharp: bool) -> None:
    every = np.array(weights, np.float32)
    assert _is_sharp(prune(every, head), every, head, every.max()) is sharp


def test_a_text_is_computed_once() -> None:
    calls: list[int] = []

    def run(ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        calls.append(len(ids))
        summed: NDArray[np.float32] = (ids * mask).sum(1, keepdims=True).astype(np.float32)
        return summed

    remembered = remembering(run)
    row, padded = np.array([[3, 4]]), np.array([[1, 0]])
    assert [float(remembered(ids, np.ones_like(ids))[0, 0]) for ids in (row, row, row + 1)] == [7, 7, 9]
    assert float(remembered(row, padded)[0, 0]) == 3, "padding is another text"
    both = np.concatenate([row, row])
    assert remembered(both, np.ones_like(both)).shape == remembered(both, np.ones_like(both)).shape == (2, 1)
    assert calls == [1, 1, 1, 2, 2]
