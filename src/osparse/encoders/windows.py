"""One vector from a text that is longer than the encoder reads: overlapping windows, put together.

Token by token the largest weight counts, and the windows after the first at a share of theirs: what stands at the
beginning of a text says more about it. A text that fits has one window and the vector that it has without this.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from osparse.encoders.onnx_encoder import OnnxEncoder
from osparse.errors import InputError

LATER_WEIGHT = 0.5
"""Chosen on validation queries: docs/indexing.md has the figures."""
ROWS = 8
"""Windows of one length class in one run of the model; more only cost cache."""


def check_window_weight(weight: float | None) -> None:
    """Raises :class:`InputError` for a share that is not in (0, 1]."""
    if weight is not None and not 0 < weight <= 1:
        raise InputError(f"`window_weight` must be above 0 and at most 1, got {weight:g}")


def long_texts(weight: float | None) -> str:
    """How texts that are longer than the encoder reads are encoded, as metadata states it."""
    return "cut" if weight is None else f"windows {weight:g}"


def windowed(encoder: OnnxEncoder, texts: Sequence[str], weight: float) -> list[NDArray[np.float32]]:
    """The (V,) vector of each text.

    Args:
        weight: Of the windows after the first, in (0, 1]; 1 is the plain maximum.
    """
    windows, places = list[list[int]](), list[tuple[int, bool]]()
    for text, of_text in enumerate(encoder.windows(texts)):
        windows += of_text
        places += [(text, number == 0) for number in range(len(of_text))]
    vectors = [np.zeros(len(encoder.tokens), np.float32) for _ in texts]
    for rows, weights in encoder.batches_of_ids(windows, ROWS):
        for row, vector in zip(rows, weights, strict=True):
            text, is_first = places[row]
            np.maximum(vectors[text], vector if is_first else vector * np.float32(weight), out=vectors[text])
    return vectors
