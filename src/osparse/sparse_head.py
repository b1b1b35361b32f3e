"""The sparse head: max over tokens of the vocabulary logits, without the (B, T, V) tensor.

``max_over_tokens`` equals ``(hidden @ weight.T + bias).masked_fill(~mask, -inf).amax(1).relu()`` and its gradient. It
holds the logits of one block of one document's tokens at a time, in one buffer (what costs beside the matrix product
is fresh memory), leaves padding out of the product, adds the bias after the maximum, and goes back only through the
(document, token) pairs that have a gradient. On an accelerator a block is a slice of tokens of the whole batch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

BLOCK_ELEMENTS = 4_000_000
"""Logits held at a time on a CPU (16 MB in fp32)."""
DEVICE_BLOCK_ELEMENTS = 256_000_000
"""Logits held at a time on an accelerator (1 GB in fp32)."""


class _MaxOverTokens(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        peak = _peak_by_document(hidden, mask, weight) if hidden.is_cpu else _peak_by_slice(hidden, mask, weight)
        peak.add_(bias).relu_()  # rounding is monotone: max(z + b) is max(z) + b to the bit
        ctx.save_for_backward(hidden, mask, weight, peak)
        return peak

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, Tensor, Tensor]:
        hidden, mask, weight, peak = ctx.saved_tensors
        grad = grads[0] * (peak > 0)  # (B, V)
        grad_hidden, grad_weight = torch.zeros_like(hidden), torch.zeros_like(weight)
        for b in range(hidden.shape[0]):
            terms = grad[b].nonzero().squeeze(1)  # (K,) of V
            if not len(terms):
                continue
            rows, columns = hidden[b][mask[b]], weight[terms]  # (L, H), (K, H)
            winner = (columns @ rows.T).argmax(1)  # (K,) of L; the bias is equal for all tokens
            routed = hidden.new_zeros(len(terms), len(rows))  # (K, L): each term's gradient at its winner
            routed.scatter_(1, winner[:, None], grad[b, terms][:, None])
            grad_hidden[b, mask[b]] = routed.T @ columns
            grad_weight[terms] = grad_weight[terms].addmm_(routed, rows)  # terms are distinct
        return grad_hidden, None, grad_weight, grad.sum(0)


def _peak_by_document(hidden: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    vocabulary = weight.shape[0]
    block = max(1, min(BLOCK_ELEMENTS // vocabulary, hidden.shape[1]))
    buffer = hidden.new_empty(block, vocabulary)
    peak = hidden.new_full((hidden.shape[0], vocabulary), -torch.inf)
    for b in range(hidden.shape[0]):
        for rows in torch.split(hidden[b][mask[b]], block):
            if len(rows):
                logits = torch.mm(rows, weight.T, out=buffer[: len(rows)])
                torch.maximum(peak[b], logits.amax(0), out=peak[b])
    return peak


def _peak_by_slice(hidden: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    batch, length, _ = hidden.shape
    block = max(1, DEVICE_BLOCK_ELEMENTS // (batch * weight.shape[0]))
    peak = hidden.new_full((batch, weight.shape[0]), -torch.inf)
    for start in range(0, length, block):
        logits = hidden[:, start : start + block] @ weight.T  # (B, block, V)
        logits.masked_fill_(~mask[:, start : start + block, None], -torch.inf)
        torch.maximum(peak, logits.amax(1), out=peak)
    return peak


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
