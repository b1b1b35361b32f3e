"""The sparse head: max over tokens of the vocabulary logits, without the (B, T, V) tensor.

``max_over_tokens`` equals ``(hidden @ weight.T + bias).masked_fill(~mask, 0).amax(1).relu()`` and its gradient; it
holds (B, chunk, V) at a time, and its backward touches only the (document, token) pairs that have a gradient.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

CHUNK_ELEMENTS = 16_000_000
"""Logits held at a time (64 MB in fp32); the token chunk is derived from it."""


class _MaxOverTokens(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        batch, length, _ = hidden.shape
        chunk = max(1, CHUNK_ELEMENTS // (batch * weight.shape[0]))
        peak = hidden.new_zeros(batch, weight.shape[0])
        for start in range(0, length, chunk):
            logits = torch.nn.functional.linear(hidden[:, start : start + chunk], weight, bias)  # (B, c, V)
            logits.masked_fill_(~mask[:, start : start + chunk, None], 0.0)
            torch.maximum(peak, logits.amax(1), out=peak)
        ctx.save_for_backward(hidden, mask, weight, bias, peak)
        return peak

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, Tensor, Tensor]:
        (grad,) = grads  # (B, V)
        hidden, mask, weight, bias, peak = ctx.saved_tensors
        grad = grad * (peak > 0)
        grad_hidden, grad_weight = torch.zeros_like(hidden), torch.zeros_like(weight)
        for b in range(hidden.shape[0]):
            terms = grad[b].nonzero().squeeze(1)  # (K,) of V
            positions = mask[b].nonzero().squeeze(1)  # (L,) of T
            rows, columns = hidden[b, positions], weight[terms]
            winner = (rows @ columns.T).argmax(0)  # (K,) the bias is equal for all tokens
            g = grad[b, terms, None]
            grad_hidden[b].index_add_(0, positions[winner], g * columns)
            grad_weight.index_add_(0, terms, g * rows[winner])
        return grad_hidden, None, grad_weight, grad.sum(0)


def max_over_tokens(hidden: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """relu(max over unmasked tokens of hidden @ weight.T + bias).

    Args:
        hidden: (B, T, H) after the masked-LM transform.
        mask: (B, T) bool, true for real tokens.
        weight: (V, H) decoder matrix. bias: (V,).

    Returns:
        (B, V) >= 0; a row of padding only gives zeros.
    """
    return torch.as_tensor(_MaxOverTokens.apply(hidden, mask, weight, bias))
