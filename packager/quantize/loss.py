"""What a quantised encoder loses: its weights beside those of the encoder it was made from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from osparse.encoders import similarity
from osparse.encoders.similarity import LEAST_COSINE, LEAST_SHARED
from osparse.errors import CheckError

Answers = Sequence[NDArray[np.float32]]
"""What an encoder gives for each of some cases: (B, V) each."""


@dataclass(frozen=True)
class Loss:
    """Over the rows of some cases."""

    least_cosine: float
    least_shared: float
    """Tokens above 1e-3 that both have, as a share of those that either has."""
    mean_cosine: float
    mean_shared: float
    largest: float
    """Largest difference of a weight."""

    @property
    def allowed(self) -> bool:
        return self.least_cosine >= LEAST_COSINE and self.least_shared >= LEAST_SHARED


def loss_of(given: Iterable[Answers], expected: Answers) -> Loss:
    """Compare what each encoder gives with what the one that it was made from gives."""
    cosines, shared, largest = [1.0], [1.0], 0.0
    for before, *by_encoder in zip(expected, *given, strict=True):
        for after in by_encoder:
            cosines += [similarity.cosine(a, b) for a, b in zip(before, after, strict=True)]
            shared += [similarity.shared_tokens(a, b) for a, b in zip(before, after, strict=True)]
            largest = max(largest, float(np.abs(before - after).max(initial=0)))
    return Loss(min(cosines), min(shared), float(np.mean(cosines[1:])), float(np.mean(shared[1:])), largest)


def require_likeness(given: Mapping[str, Answers], expected: Answers, choice: str) -> dict[str, float]:
    """What quantisation loses over some cases, each figure rounded to the safe side.

    Raises :class:`CheckError` if a text keeps less than :data:`LEAST_COSINE` or :data:`LEAST_SHARED`.
    """
    loss = loss_of(given.values(), expected)
    if not loss.allowed:
        raise CheckError(
            f"{choice} changes this model too much. Of the text that it changes most, the weights before and after "
            f"have a cosine {loss.least_cosine:.3f} (1 is the same direction; at least {LEAST_COSINE} is required), "
            f"and of the tokens that either has, both have {loss.least_shared:.2f} (at least {LEAST_SHARED} is "
            f"required); a weight changes by up to {loss.largest:.2f}. Package it without `quantize`: the encoder is "
            "then larger and gives the model's weights"
        )
    return {
        "cosine_above": math.floor(loss.least_cosine * 200) / 200,
        "shared_tokens_above": math.floor(loss.least_shared * 20) / 20,
        "largest_difference_below": _above(loss.largest * 1.5),
    }


def _above(value: float) -> float:
    """The next number of one digit: figures differ a little from machine to machine, the manifest must not."""
    step = 10.0 ** math.floor(math.log10(value)) if value > 0 else 1.0
    return round(math.ceil(value / step) * step, 6)
