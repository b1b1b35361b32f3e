"""The sparse head without most of its work: int8 finds the few terms that may be positive, fp32 computes them.

Almost every weight of a document is zero, and whether it is can mostly be told from 8 bits. With h a token's hidden
state and w a term's row of the decoder, rounded to multiples ĥ and ŵ of a scale,

    h·w - ĥ·ŵ = (h - ĥ)·w + ĥ·(w - ŵ), so |h·w - ĥ·ŵ| <= |h - ĥ| |w| + |ĥ| |w - ŵ|     (Cauchy-Schwarz)

and fp32 computes h·w to within γ |h| |w|, γ = H u / (1 - H u), u = 2^-24, in any order of summation (Higham, Accuracy
and Stability of Numerical Algorithms, 3.1). A term whose largest ĥ·ŵ plus the bias stays below minus both is zero in
fp32 too; every other term is a candidate, computed exactly. So no non-zero is missed; the vectors differ from the
plain path's by fp32 rounding alone. Pays where the CPU multiplies int8 several times faster than fp32 (VNNI).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

LEVELS = 127
"""int8 steps on each side of zero."""
UNIT = 2.0**-24
"""Largest relative rounding error of fp32."""
TERMS = 8_192
"""Terms multiplied at a time: with 256 tokens 8 MB of int32."""
ROUNDED = 1_024
"""Terms rounded at a time, so that what is between stays in the cache."""
COLUMNS = 16
"""Lengths are rounded up to a multiple, so that oneDNN makes its kernels for few shapes."""
SMALLEST = 1 << 20
"""Decoder elements below which the plain product is quick enough."""


def pays(weight: Tensor) -> bool:
    """Whether the screen is worth it for a (V, H) decoder where it is.

    Never with a torch that lacks the int8 product or the question whether the CPU has it: neither is a public function.
    """
    vnni = getattr(torch.cpu, "_is_vnni_supported", None)
    if vnni is None or not hasattr(torch, "_int_mm"):
        return False
    return weight.is_cpu and weight.numel() >= SMALLEST and bool(vnni())


class Screen:
    """A decoder in int8 with its error bounds; holds V x H bytes, and the fp32 decoder itself for the exact part."""

    def __init__(self, weight: Tensor, bias: Tensor, keep: Tensor) -> None:
        """``weight`` (V, H) and ``bias`` (V,) of the decoder; ``keep`` (V,), 0 for terms that are never computed."""
        self.weight, self.bias = weight.float(), bias.float()
        scale = _scale(self.weight.abs().amax(1))
        parts = [
            _quantise(w, s[:, None])
            for w, s in zip(torch.split(self.weight, ROUNDED), torch.split(scale, ROUNDED), strict=True)
        ]
        self._int8 = torch.cat([part[0] for part in parts])
        self._norm, self._rest = torch.cat([part[1] for part in parts]), torch.cat([part[3] for part in parts])
        self._scale = scale.double()
        self._dropped = keep == 0

    def peaks(self, rows: Tensor, lengths: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
        """For each document (ids (K,) rising, largest logits (K,) of these terms, bias added, relu-ed).

        Args:
            rows: (N, H) hidden states of the real tokens of all documents, one document after the other.
            lengths: tokens of each document, N together.

        All other terms' logits are at most 0. Some of those given may be, too.
        """
        nothing = torch.empty(0, dtype=torch.int64), torch.empty(0)
        if not len(rows):
            return [nothing for _ in lengths]
        scale = _scale(rows.abs().amax())
        int8, norm, kept, rest = _quantise(rows, scale)
        least = self._least(scale.double(), norm.amax(), kept.amax(), rest.amax())
        int8 = torch.cat([int8, int8.new_zeros(COLUMNS, int8.shape[1])])  # a rounded-up length reads past its end
        buffer = torch.empty(TERMS * _rounded(max(lengths)), dtype=torch.int32)
        peaks, start = [], 0
        for length in lengths:
            document = rows[start : start + length]
            if length:
                ids = (self._largest(int8, start, length, buffer) >= least).nonzero().squeeze(1)
                peaks.append((ids, self._exact(document, ids)))
            else:
                peaks.append(nothing)
            start += length
        return peaks

    def _least(self, scale: Tensor, norm: Tensor, kept: Tensor, rest: Tensor) -> Tensor:
        """(V,) int32: the smallest largest product with which a term may be positive; any, where that is not finite."""
        width = self.weight.shape[1] * UNIT
        error = (rest + width / (1 - width) * norm) * self._norm + kept * self._rest
        least = torch.floor(-(self.bias + error) / (scale * self._scale)).nan_to_num_(nan=-torch.inf)
        limits = torch.iinfo(torch.int32)
        return least.clamp_(limits.min, limits.max - 1).to(torch.int32).masked_fill_(self._dropped, limits.max)

    def _largest(self, rows: Tensor, start: int, length: int, buffer: Tensor) -> Tensor:
        """(V,) int32 maxima over the document's tokens of the int8 products."""
        columns = _rounded(length)
        vocabulary = len(self._int8)
        largest = torch.empty(vocabulary, dtype=torch.int32)
        tokens = rows[start : start + columns].T  # (H, columns)
        for first in range(0, vocabulary, TERMS):
            terms = self._int8[first : first + TERMS]
            out = buffer[: len(terms) * columns].view(len(terms), columns)
            torch._int_mm(terms, tokens, out=out)
            torch.amax(out[:, :length], 1, out=largest[first : first + TERMS])
        return largest

    def _exact(self, document: Tensor, ids: Tensor) -> Tensor:
        logits = self.weight.index_select(0, ids) @ document.T  # (K, L)
        return logits.amax(1).add_(self.bias[ids]).relu_()


def _rounded(length: int) -> int:
    return -(-length // COLUMNS) * COLUMNS


def _scale(largest: Tensor) -> Tensor:
    """Size of an int8 step; 1 where all is 0."""
    return torch.where(largest > 0, largest / LEVELS, torch.ones_like(largest))


def _quantise(vectors: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(N, H) int8 of the vectors in steps of ``scale``; (N,) fp64 upper bounds of the norms |x|, |x̂| and |x - x̂|."""
    steps = (vectors / scale).round_().clamp_(-LEVELS, LEVELS)
    rounded = steps * scale
    more = 1 + 4 * vectors.shape[1] * UNIT  # a norm computed in fp32 may be this much too small
    norm = vectors.norm(dim=1).double() * more
    kept = rounded.norm(dim=1).double() * more
    rest = (vectors - rounded).norm(dim=1).double() * more + 4 * UNIT * norm
    return steps.to(torch.int8), norm, kept, rest
