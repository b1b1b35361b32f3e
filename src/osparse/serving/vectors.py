"""What the encoder gives a text, and the two forms in which ML Commons asks for it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from osparse.encoders.onnx_encoder import OnnxEncoder
from osparse.errors import ModelError

_PARTED = re.compile("\\$\u2060(\u2060|(?=\\{parameters\\.))")
Format = Literal["WORD", "TOKEN_ID"]
"""Keys of a vector: raw tokens for rank_features fields, token ids for sparse_vector fields."""


class SparseVector(NamedTuple):
    """The non-zeros of one text."""

    ids: list[int]
    """Token ids, ascending."""
    weights: list[float]
    """Positive and finite, one per id."""


def vector_encoder(encoder: OnnxEncoder, max_batch: int) -> Callable[[Sequence[str]], list[SparseVector]]:
    """Texts -> one vector for each, in order; raises :class:`ModelError` for a weight that is not finite."""

    def encode(texts: Sequence[str]) -> list[SparseVector]:
        vectors: dict[int, SparseVector] = {}
        for rows, weights in encoder.batches([_readable(text) for text in texts], max_batch):
            for row, dense in zip(rows, weights, strict=True):
                if not np.isfinite(dense).all():
                    raise ModelError("the encoder gives a weight that is not finite; check it with: osparse verify")
                ids = np.flatnonzero(dense > 0)
                vectors[row] = SparseVector(ids.tolist(), dense[ids].tolist())
        return [vectors[row] for row in range(len(texts))]

    return encode


def keyed(vector: SparseVector, tokens: Sequence[str], form: Format) -> dict[str, float]:
    """{token or id: weight}."""
    keys = map(str, vector.ids) if form == "TOKEN_ID" else (tokens[i] for i in vector.ids)
    return dict(zip(keys, vector.weights, strict=True))


def _readable(text: str) -> str:
    """Half of a surrogate pair, which JSON can carry and no encoding can, becomes "?" as on the server.

    The word joiner is taken out that an ingest pipeline of osparse puts into ``${parameters.``, because ML Commons
    would expand that.
    """
    return _PARTED.sub(r"$\1", text.encode("utf-8", "replace").decode())
