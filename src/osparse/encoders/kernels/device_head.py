"""The sparse head on a GPU in Triton: the logits stay in registers, and the host never waits for the device.

``largest`` multiplies a block of terms with the tokens of one document and keeps their running maximum and its token.
``gradients`` walks over (document, term) pairs and loads the rows of those that have a gradient; how many there are is
nowhere needed. :mod:`osparse.encoders.sparse_head` has the plain path, and uses this one where :func:`usable` says so.
With ``TRITON_INTERPRET=1`` in the environment the kernels run on a CPU, which is how they are tested.
"""

# mypy: disable-error-code="no-untyped-def"
# Triton compiles its functions by what they are called with; types would say nothing to it.

from __future__ import annotations

import logging
from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor

log = logging.getLogger("osparse.encoders.device_head")
TOKENS, TERMS, DIMENSIONS = 64, 128, 32
"""A block's sides in ``largest``."""
SCATTER_TERMS, SCATTER_DIMENSIONS = 32, 128
"""A block's sides in ``gradients``."""


@triton.jit  # type: ignore[untyped-decorator]
def _largest(
    hidden, mask, weight, peak, winner, length, vocabulary, width,
    precision: tl.constexpr, tokens_in_block: tl.constexpr, terms_in_block: tl.constexpr, dims_in_block: tl.constexpr,
):  # fmt: skip
    document = tl.program_id(1).to(tl.int64)
    terms = tl.program_id(0) * terms_in_block + tl.arange(0, terms_in_block)
    term_rows = weight + terms.to(tl.int64)[None, :] * width
    best = tl.full((terms_in_block,), -float("inf"), tl.float32)
    place = tl.zeros((terms_in_block,), tl.int32)
    for start in range(0, length, tokens_in_block):
        tokens = start + tl.arange(0, tokens_in_block)
        token_rows = hidden + (document * length + tokens)[:, None] * width
        logits = tl.zeros((tokens_in_block, terms_in_block), tl.float32)
        for first in range(0, width, dims_in_block):
            dims = first + tl.arange(0, dims_in_block)
            of_width = dims < width
            rows = tl.load(token_rows + dims[None, :], (tokens < length)[:, None] & of_width[None, :], 0.0)
            columns = tl.load(term_rows + dims[:, None], of_width[:, None] & (terms < vocabulary)[None, :], 0.0)
            logits = tl.dot(rows, columns, logits, input_precision=precision)
        real = tl.load(mask + document * length + tokens, tokens < length, 0)
        logits = tl.where((real != 0)[:, None], logits, -float("inf"))
        highest, position = tl.max(logits, axis=0, return_indices=True)
        place = tl.where(highest > best, start + position, place)
        best = tl.maximum(best, highest)
    out = document * vocabulary + terms
    tl.store(peak + out, best, terms < vocabulary)
    tl.store(winner + out, place, terms < vocabulary)


@triton.jit  # type: ignore[untyped-decorator]
def _weight_gradient(
    hidden, grad, winner, grad_weight, batch, length, vocabulary, width,
    terms_in_block: tl.constexpr, dims_in_block: tl.constexpr,
):  # fmt: skip
    terms = (tl.program_id(0) * terms_in_block + tl.arange(0, terms_in_block)).to(tl.int64)
    dims = tl.program_id(1) * dims_in_block + tl.arange(0, dims_in_block)
    total = tl.zeros((terms_in_block, dims_in_block), tl.float32)
    pair = terms
    for document in range(batch):
        share = tl.load(grad + pair, terms < vocabulary, 0.0)
        token = document * length + tl.load(winner + pair, terms < vocabulary, 0).to(tl.int64)
        wanted = (share != 0)[:, None] & (dims < width)[None, :]
        total += share[:, None] * tl.load(hidden + token[:, None] * width + dims[None, :], wanted, 0.0)
        pair += vocabulary
    tl.store(
        grad_weight + terms[:, None] * width + dims[None, :], total, (terms < vocabulary)[:, None] & (dims < width)
    )


@triton.jit  # type: ignore[untyped-decorator]
def _hidden_gradient(
    weight, grad, winner, grad_hidden, length, vocabulary, width,
    terms_in_block: tl.constexpr, dims_in_block: tl.constexpr,
):  # fmt: skip
    document = tl.program_id(1).to(tl.int64)
    terms = (tl.program_id(0) * terms_in_block + tl.arange(0, terms_in_block)).to(tl.int64)
    pair = document * vocabulary + terms
    share = tl.load(grad + pair, terms < vocabulary, 0.0)
    token = document * length + tl.load(winner + pair, terms < vocabulary, 0).to(tl.int64)
    for first in range(0, width, dims_in_block):
        dims = first + tl.arange(0, dims_in_block)
        wanted = (share != 0)[:, None] & (dims < width)[None, :]
        rows = tl.load(weight + terms[:, None] * width + dims[None, :], wanted, 0.0)
        tl.atomic_add(grad_hidden + token[:, None] * width + dims[None, :], share[:, None] * rows, wanted)


def largest(hidden: Tensor, mask: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The largest logit of each document and term, -inf without a token, and its token's position.

    Args:
        hidden: (B, T, H) fp32. mask: (B, T) bool. weight: (V, H) fp32.

    Returns:
        (B, V) fp32 and (B, V) int32.
    """
    batch, length, width = hidden.shape
    vocabulary = weight.shape[0]
    peak = hidden.new_empty(batch, vocabulary)
    winner = torch.empty(peak.shape, dtype=torch.int32, device=hidden.device)
    _largest[triton.cdiv(vocabulary, TERMS), batch](
        hidden.contiguous(), mask.to(torch.uint8).contiguous(), weight.contiguous(), peak, winner, length, vocabulary,
        width, _precision(), TOKENS, TERMS, DIMENSIONS,
    )  # fmt: skip
    return peak, winner


def gradients(hidden: Tensor, weight: Tensor, grad: Tensor, winner: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients (B, T, H) of ``hidden`` and (V, H) of ``weight``.

    Args:
        grad: (B, V) of the relu-ed maxima, 0 where they are 0. winner: (B, V) as :func:`largest` gives it.
    """
    batch, length, width = hidden.shape
    vocabulary = weight.shape[0]
    grad, hidden, weight = grad.contiguous(), hidden.contiguous(), weight.contiguous()
    grad_hidden, grad_weight = torch.zeros_like(hidden), torch.empty_like(weight)
    terms, sides = triton.cdiv(vocabulary, SCATTER_TERMS), (SCATTER_TERMS, SCATTER_DIMENSIONS)
    _weight_gradient[terms, triton.cdiv(width, SCATTER_DIMENSIONS)](
        hidden, grad, winner, grad_weight, batch, length, vocabulary, width, *sides
    )
    _hidden_gradient[terms, batch](weight, grad, winner, grad_hidden, length, vocabulary, width, *sides)
    return grad_hidden, grad_weight


def _precision() -> str:
    """How a product of fp32 numbers is taken: three TF32 products on tensor cores keep fp32's digits."""
    has_tf32 = torch.cuda.is_available() and torch.version.hip is None and torch.cuda.get_device_capability() >= (8, 0)
    return "tf32x3" if has_tf32 else "ieee"


@cache
def usable(device: torch.device) -> bool:
    """Whether the kernels compile for a device and give the plain product there; tried once on a small problem."""
    generator = torch.Generator().manual_seed(0)
    hidden, weight = (torch.randn(*shape, generator=generator).to(device) for shape in ((2, 70, 40), (150, 40)))
    mask = torch.ones(2, 70, dtype=torch.bool, device=device)
    try:
        peak, winner = largest(hidden, mask, weight)
        grad_hidden, grad_weight = gradients(hidden, weight, torch.ones_like(peak), winner)
    except Exception as problem:  # noqa: BLE001 - Triton, its compiler and the driver raise classes of their own
        log.warning("the Triton kernels of the sparse head do not run on %s, torch's products do: %s", device, problem)
        return False
    hidden, weight = hidden.double(), weight.double()  # whatever torch may round in fp32
    logits, token = (hidden @ weight.T).max(1)
    counts = torch.zeros(2, 70, 150, dtype=torch.float64, device=device).scatter_(1, token[:, None], 1.0)
    expected = logits, counts @ weight, torch.einsum("btv,bth->vh", counts, hidden)
    pairs = zip((peak, grad_hidden, grad_weight), expected, strict=True)
    same = torch.equal(token.int(), winner) and all(torch.allclose(a.double(), b, atol=1e-4) for a, b in pairs)
    if not same:
        log.warning("the Triton kernels of the sparse head give other numbers on %s; torch's products are used", device)
    return same
