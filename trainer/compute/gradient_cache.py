"""Gradient caching (Gao et al. 2021, arXiv 2101.06983): contrastive batches larger than memory, with exact gradients.

A contrastive loss needs all documents of the batch at once, so plain accumulation over micro-batches changes it. Here
the documents are encoded in chunks without a graph, the loss gives the gradient of each weight, and then each chunk is
encoded again, with a graph, and takes its part of that gradient. Only one chunk's activations exist at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


def cached_weights(encode: Callable[[Sequence[T]], Tensor], inputs: Sequence[T], chunk: int | None) -> Tensor:
    """``encode(inputs)``, with the graph of one chunk at a time.

    Args:
        encode: n inputs -> (n, C). It is called twice for each chunk with the same random state, so that dropout drops
            the same; it must depend on its inputs, the parameters and the random state alone.
        inputs: of one step; at least one.
        chunk: inputs encoded at a time; None, or a chunk that takes them all, encodes them once, as usual.

    Returns:
        (len(inputs), C), to be used in one backward pass, which adds to the parameters' ``grad``.
    """
    if chunk is None or chunk >= len(inputs):
        return encode(inputs)
    chunks = [inputs[start : start + chunk] for start in range(0, len(inputs), chunk)]
    if not torch.is_grad_enabled():
        return torch.cat([encode(part) for part in chunks])
    anchor = torch.zeros((), requires_grad=True)
    return torch.as_tensor(_Cached.apply(anchor, encode, chunks))


class _Cached(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, anchor: Tensor, encode: Any, chunks: Any) -> Tensor:
        ctx.encode, ctx.chunks, ctx.states = encode, chunks, []
        parts = []
        for chunk in chunks:  # autograd is off inside a Function
            ctx.states.append(random_state())
            parts.append(encode(chunk))
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, None, None]:
        after = random_state()
        start = 0
        try:
            for chunk, state in zip(ctx.chunks, ctx.states, strict=True):
                set_random_state(state)
                with torch.enable_grad():
                    weights = ctx.encode(chunk)
                torch.autograd.backward(weights, grads[0][start : start + len(weights)])
                start += len(weights)
        finally:
            set_random_state(after)
        return None, None, None


def random_state() -> list[Tensor]:
    """Of the CPU, and of the CUDA device in use where there is one."""
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state()] if torch.cuda.is_available() else states


def set_random_state(states: list[Tensor]) -> None:
    torch.set_rng_state(states[0])
    if len(states) > 1:
        torch.cuda.set_rng_state(states[1])
