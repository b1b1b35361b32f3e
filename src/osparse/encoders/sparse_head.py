"""The sparse head: max over tokens of the vocabulary logits, without the (B, T, V) tensor.

``max_over_tokens`` equals ``(hidden @ weight.T + bias).masked_fill(~mask, -inf).amax(1).relu()`` and its gradient. It
holds the logits of one block of terms for one document at a time, in one buffer (what costs beside the matrix product
is fresh memory), leaves padding out of the product and adds the bias after the maximum. The backward pass touches only
terms with a gradient: their winning tokens are found again, which is cheaper than keeping every position in the forward
pass, and each gradient is scattered to that one token. A step over a whole wide vocabulary first finds in int8 which
terms may be positive (:mod:`osparse.encoders.screen`), as encoding does.

On an accelerator the positions are kept. Triton's kernels (:mod:`osparse.encoders.kernels.device_head`) then compute
both passes and the host never waits for the device; where they cannot run, a block is a slice of tokens of the batch,
and the host waits once in a backward pass.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from osparse.encoders.screen import Screen, pays

BLOCK_ELEMENTS = 1_000_000
"""Logits held at a time on a CPU (4 MB in fp32)."""
DEVICE_BLOCK_ELEMENTS = 256_000_000
"""Logits held at a time on an accelerator (1 GB in fp32)."""
SCREENED, SCREENED_TOKENS = 1 << 21, 512
"""Elements of a decoder, and tokens of a batch, from which a training step screens it in int8."""
MOST_CANDIDATES = 0.5
"""Share of the terms that a document's screen may leave; beyond it the rest of the batch is not screened."""


class _MaxOverTokens(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        winner, ctx.kernels = None, None
        if _by_document(hidden) and any(ctx.needs_input_grad) and _worth_screening(hidden, weight):
            peak = _peak_by_screen(hidden, mask, weight, bias)
        elif _by_document(hidden):
            peak = _peak_by_document(hidden, mask, weight, bias)
        else:
            ctx.kernels = _device_kernels(hidden)
            peak, winner = (ctx.kernels.largest if ctx.kernels else _peak_by_slice)(hidden, mask, weight)
            peak.add_(bias).relu_()
        ctx.save_for_backward(hidden, mask, weight, peak, winner)
        return peak

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, Tensor, Tensor]:
        hidden, mask, weight, peak, winner = ctx.saved_tensors
        grad = grads[0] * (peak > 0)  # (B, V)
        if winner is None:
            grad_hidden, grad_weight = _gradients_by_document(hidden, mask, weight, grad)
        else:
            gradients = ctx.kernels.gradients if ctx.kernels else _gradients_by_pair
            grad_hidden, grad_weight = gradients(hidden, weight, grad, winner)
        return grad_hidden, None, grad_weight, grad.sum(0)


def _by_document(hidden: Tensor) -> bool:
    """Whether to take one document after the other: on a CPU, where that costs no wait for the device."""
    return hidden.is_cpu


def _device_kernels(hidden: Tensor) -> Any:
    """The module of Triton's kernels where they run on the tensor's device; None elsewhere, and for fp64."""
    if not hidden.is_cuda or hidden.dtype != torch.float32 or find_spec("triton") is None:
        return None
    from osparse.encoders.kernels import device_head

    return device_head if device_head.usable(hidden.device) else None


def _worth_screening(hidden: Tensor, weight: Tensor) -> bool:
    """Whether a training step's product is large enough for rounding its weights first.

    Never in the steps of the configurations for a CPU, which take some columns of a narrow decoder: what they train
    must not depend on whether the processor has VNNI.
    """
    tokens = hidden.shape[0] * hidden.shape[1]
    large = weight.numel() >= SCREENED and tokens >= SCREENED_TOKENS
    return large and hidden.dtype == weight.dtype == torch.float32 and pays(weight)


def _peak_by_screen(hidden: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """As :func:`_peak_by_document` and the relu, where most terms are zero."""
    screen = Screen(weight, bias, weight.new_ones(len(weight)))
    peak = hidden.new_zeros(hidden.shape[0], len(weight))
    for b in range(hidden.shape[0]):
        rows = hidden[b][mask[b]]
        terms, largest = screen.peaks(rows, [len(rows)])[0]
        peak[b, terms] = largest
        if len(terms) > MOST_CANDIDATES * len(weight):  # not sparse yet: the plain product is cheaper
            peak[b + 1 :] = _peak_by_document(hidden[b + 1 :], mask[b + 1 :], weight, bias)
            break
    return peak


def _peak_by_document(hidden: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(B, V) relu-ed largest logits; adding the bias after the maximum changes no bit, as rounding is monotone."""
    vocabulary, length = weight.shape[0], max(1, hidden.shape[1])
    block = max(1, BLOCK_ELEMENTS // length)
    buffer = hidden.new_empty(min(block, vocabulary) * length)
    peak = hidden.new_full((hidden.shape[0], vocabulary), -torch.inf)
    for b in range(hidden.shape[0]):
        rows = hidden[b][mask[b]]
        for start in range(0, vocabulary if len(rows) else 0, block):
            terms = weight[start : start + block]
            logits = buffer[: len(terms) * len(rows)].view(len(terms), len(rows))  # terms first: a row is reduced
            torch.amax(torch.mm(terms, rows.T, out=logits), 1, out=peak[b, start : start + block])
    return peak.add_(bias).relu_()


def _gradients_by_document(hidden: Tensor, mask: Tensor, weight: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of ``hidden`` and ``weight``; ``grad`` (B, V) is that of the relu-ed maxima, 0 where they are 0."""
    grad_hidden, grad_weight = torch.zeros_like(hidden), torch.zeros_like(weight)
    block = max(1, BLOCK_ELEMENTS // max(1, hidden.shape[1]))
    for b in range(hidden.shape[0]):
        tokens = mask[b].nonzero().squeeze(1)  # (L,) of T
        rows = hidden[b].index_select(0, tokens)  # (L, H)
        touched = grad[b].nonzero().squeeze(1)
        for terms in torch.split(touched, block) if len(touched) else ():  # (K,) of V
            columns = weight.index_select(0, terms)  # (K, H)
            winner = (columns @ rows.T).argmax(1)  # (K,) of L; the bias is equal for all tokens
            share = grad[b, terms][:, None]  # (K, 1)
            grad_weight.index_add_(0, terms, rows.index_select(0, winner).mul_(share))
            grad_hidden[b].index_add_(0, tokens[winner], columns.mul_(share))
    return grad_hidden, grad_weight


def _peak_by_slice(hidden: Tensor, mask: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """(B, V) largest logits, and the (B, V) int32 positions of their tokens."""
    batch, length, _ = hidden.shape
    block = max(1, DEVICE_BLOCK_ELEMENTS // (batch * weight.shape[0]))
    peak = hidden.new_full((batch, weight.shape[0]), -torch.inf)
    winner = torch.zeros(peak.shape, dtype=torch.int32, device=hidden.device)
    for start in range(0, length, block):
        logits = hidden[:, start : start + block] @ weight.T  # (B, block, V)
        logits.masked_fill_(~mask[:, start : start + block, None], -torch.inf)
        largest, position = logits.max(1)
        winner = torch.where(largest > peak, (position + start).int(), winner)
        torch.maximum(peak, largest, out=peak)
    return peak, winner


def _gradients_by_pair(hidden: Tensor, weight: Tensor, grad: Tensor, winner: Tensor) -> tuple[Tensor, Tensor]:
    """As :func:`_gradients_by_document`, over all (document, term) pairs of the batch: one wait for the device."""
    batch, length, width = hidden.shape
    grad_hidden, grad_weight = torch.zeros_like(hidden).view(batch * length, width), torch.zeros_like(weight)
    flat = hidden.reshape(batch * length, width)
    pairs = grad.nonzero()  # (N, 2), the host waits for N
    for part in torch.split(pairs, max(1, DEVICE_BLOCK_ELEMENTS // width)) if len(pairs) else ():
        document, term = part.unbind(1)
        token = document * length + winner[document, term]
        share = grad[document, term][:, None]
        grad_weight.index_add_(0, term, flat.index_select(0, token).mul_(share))
        grad_hidden.index_add_(0, token, weight.index_select(0, term).mul_(share))
    return grad_hidden.view_as(hidden), grad_weight


def max_over_tokens(hidden: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """relu(max over unmasked tokens of hidden @ weight.T + bias).

    Args:
        hidden: (B, T, H) after the masked-LM transform.
        mask: (B, T) bool, true for real tokens.
        weight: (V, H) decoder matrix, or the (C, H) rows of the columns that matter. bias: (V,) or (C,).

    Returns:
        (B, V) or (B, C) >= 0; a row of padding only gives zeros.
    """
    return torch.as_tensor(_MaxOverTokens.apply(hidden, mask, weight, bias))
