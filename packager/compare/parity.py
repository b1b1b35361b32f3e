"""Parity: the packaged graphs give the weights of the model they were made from, on the same ids and masks.

The cases are every probe text alone, single rows of 1 to 512 ids, and batches of 2 to 8 rows padded to the longest, one
of them from 3 ids to 256.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from osparse.encoders.onnx_encoder import pad
from osparse.errors import CheckError
from osparse.formula.head import Head

TOLERANCE = 1e-4
"""Largest difference of a weight between the model and its graphs in any runtime: kernels sum in other orders."""
SET_FLOOR = 1e-3
"""Weights above it must be non-zero on both sides."""
LENGTHS = (1, 2, 3, 8, 17, 33, 64, 65, 256)
"""Ids of the single random rows, below the longest; about powers of two is where kernels change."""
PADDED = 256
"""Ids that three are padded to."""
BATCHES = range(2, 9)
_SHOWN = 12
"""Lines of a failure's table."""

Runner = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]
"""(B, T) ids, (B, T) mask -> (B, V) weights."""


@dataclass(frozen=True, eq=False)
class Case:
    """One call: a batch of ids with its mask, both (B, T) int64."""

    name: str
    ids: NDArray[np.int64]
    mask: NDArray[np.int64]


@dataclass(frozen=True)
class Difference:
    """What one case showed."""

    case: str
    largest: float
    """Largest absolute difference of a weight; NaN if either side has one."""
    only_one: int
    """Weights above ``SET_FLOOR`` that the other side does not have."""
    allowed: float = TOLERANCE

    @property
    def ok(self) -> bool:
        return self.largest <= self.allowed and self.only_one == 0


def make_cases(texts: Iterable[Sequence[int]], ordinary_ids: Sequence[int], longest: int) -> list[Case]:
    """Texts (as ids) alone and in padded batches of up to 8, and random ids in rows of 1 to ``longest`` tokens."""
    rows = [list(text) for text in texts]
    cases = [Case(f"text {n}, {len(row)} tokens", *pad([row])) for n, row in enumerate(rows, start=1)]
    short = [row for row in rows if len(row) <= 80]
    for start in range(0, len(short), 8):
        part = short[start : start + 8]
        cases.append(Case(f"{len(part)} texts padded to {max(map(len, part))}", *pad(part)))
    random = np.random.default_rng(0)

    def row(length: int) -> list[int]:
        ids: list[int] = random.choice(ordinary_ids, length).tolist()
        return ids

    for length in sorted({n for n in LENGTHS if n < longest} | {longest}):
        cases.append(Case(f"random, {length} tokens", *pad([row(length)])))
    for batch in BATCHES:
        lengths = np.linspace(1, min(longest, 5 * batch), batch).astype(int)
        cases.append(Case(f"{batch} random, padded to {lengths[-1]}", *pad([row(n) for n in lengths])))
    padded = min(longest, PADDED)
    cases.append(Case(f"2 random, 3 padded to {padded}", *pad([row(min(3, longest)), row(padded)])))
    return cases


def of_texts(cases: Sequence[Case]) -> list[Case]:
    """Without the random ids: what a quantised encoder, whose scales suit what texts give, is held to."""
    return [case for case in cases if "random" not in case.name]


def remembering(run: Runner) -> Runner:
    """``run`` that computes each text once: it gives its answer to one row of ids again, which nobody may change."""
    answers: dict[bytes, NDArray[np.float32]] = {}

    def answer(ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        if len(ids) != 1 or not mask.all():
            return run(ids, mask)
        key = ids.tobytes()
        if key not in answers:
            answers[key] = run(ids, mask)
        return answers[key]

    return answer


def answers(run: Runner, cases: Iterable[Case]) -> list[NDArray[np.float32]]:
    """What a graph or the model gives for each case: (B, V) each."""
    return [run(case.ids, case.mask) for case in cases]


def padding_leak(run: Runner, cases: Sequence[Case]) -> float:
    """Largest change of a weight when a row of a padded batch is run alone."""
    largest = 0.0
    for case in cases:
        if len(case.ids) > 1:
            together = run(case.ids, case.mask)
            for n, mask in enumerate(case.mask):
                alone = run(case.ids[n : n + 1, : mask.sum()], mask[None, : mask.sum()])
                largest = max(largest, float(np.abs(together[n] - alone[0]).max(initial=0)))
    return largest


def word_difference(answer: Mapping[str, float], expected: Mapping[str, float]) -> float:
    """Largest absolute difference of a weight of {token: weight}; a token that one side lacks weighs 0 there."""
    return max((abs(answer.get(token, 0.0) - expected.get(token, 0.0)) for token in {*answer, *expected}), default=0.0)


def lone_words(answer: Mapping[str, float], expected: Mapping[str, float], floor: float = SET_FLOOR) -> list[str]:
    """Tokens above ``floor`` that the other side does not have."""
    return sorted(t for t in answer.keys() ^ expected.keys() if max(answer.get(t, 0), expected.get(t, 0)) > floor)


def compare(
    case: Case, answer: NDArray[np.float32], expected: NDArray[np.float32], head: Head, tolerance: float = TOLERANCE
) -> Difference:
    """``answer`` against ``expected``, (B, V) each; a weight on the very edge of pruning may fall on either side."""
    if answer.shape != expected.shape:
        return Difference(f"{case.name}: shapes {answer.shape} and {expected.shape}", float("nan"), 0)
    larger = np.maximum(answer, expected)
    lone = (answer == 0) != (expected == 0)
    edge = lone & _on_the_edge(larger, expected, head, tolerance, _own(case, expected) if head.keep_own else None)
    gap = np.where(edge, 0, np.abs(answer - expected))
    only_one = int((lone & ~edge & (larger > max(SET_FLOOR, tolerance))).sum())
    return Difference(case.name, float(gap.max(initial=0)), only_one, tolerance)


def require_parity(
    given: Mapping[str, Sequence[NDArray[np.float32]]],
    expected: Sequence[NDArray[np.float32]],
    cases: Sequence[Case],
    head: Head,
) -> dict[str, float]:
    """Largest difference per format of what it gave for the cases from what the model gave, (B, V) for each case.

    Raises :class:`CheckError` with a table of what differed.
    """
    largest = dict.fromkeys(given, 0.0)
    failed: list[tuple[str, Difference]] = []
    for case, model_weights, *by_format in zip(cases, expected, *given.values(), strict=True):
        for form, weights in zip(given, by_format, strict=True):
            difference = compare(case, weights, model_weights, head)
            largest[form] = max(largest[form], difference.largest)
            if not difference.ok:
                failed.append((form, difference))
    if failed:
        rows = [("format", "case", "largest difference", "on one side only")]
        rows += [(form, d.case, f"{d.largest:.2g}", str(d.only_one)) for form, d in failed[:_SHOWN]]
        raise CheckError(
            f"the packaged encoder does not give the model's weights in {len(failed)} comparisons (a difference of "
            f"{TOLERANCE:g} is allowed); nothing was written:\n{table(rows)}"
        )
    return largest


def power_of_ten(value: float) -> float:
    """The next power of ten: the figure itself differs from machine to machine, the manifest must not."""
    return 0.0 if value == 0 else float(f"1e{math.ceil(math.log10(value))}")


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns under each other, two spaces in."""
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))] if rows else []
    return "\n".join(("  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True))).rstrip() for row in rows)


def _on_the_edge(
    values: NDArray[np.float32],
    expected: NDArray[np.float32],
    head: Head,
    tolerance: float,
    own: NDArray[np.bool_] | None,
) -> NDArray[np.bool_]:
    """Where a value is within the tolerance of what pruning cuts at: (B, V) -> (B, V); it cuts none of ``own``."""
    edge = np.zeros(values.shape, bool)
    if head.prune_ratio > 0:
        edge |= np.abs(values - head.prune_ratio * expected.max(1, keepdims=True, initial=0)) <= tolerance
    if head.top_k is not None:
        cut = expected > 0 if own is None else (expected > 0) & ~own
        smallest = np.where(cut, expected, np.inf).min(1, keepdims=True, initial=np.inf)
        edge |= np.abs(values - smallest) <= tolerance
    return edge if own is None else edge & ~own


def _own(case: Case, expected: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(B, V) true for each row's own tokens."""
    own = np.zeros(expected.shape, bool)
    rows, places = case.mask.nonzero()
    own[rows, case.ids[rows, places]] = True
    return own
