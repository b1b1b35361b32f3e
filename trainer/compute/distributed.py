"""One code path for one process and for many: every process builds the same global batch and the same global loss.

A step's batch is a function of its number, so each process makes all of it, encodes only its share of the documents,
gathers the weights of all, and computes the loss of the whole batch. The gradients of the parameters, of which each
process then holds what its own documents gave, are summed. So the negatives and the FLOPS means are those of the global
batch, and N processes give the gradients of one.

    rows = process_rows(len(documents))
    weights = gather_rows(encode(documents[rows]), len(documents))
    loss(weights).backward()
    sum_gradients(encoder.parameters())

Started by ``accelerate launch`` or ``torchrun``; all of it is the identity in one process.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from accelerate import PartialState
from torch import Tensor, distributed

TIMEOUT = timedelta(hours=2)
"""Longest wait of the others while the main process validates or writes."""

BUCKET_ELEMENTS = 2**25
"""Gradients summed at a time (128 MB in fp32)."""


@dataclass(frozen=True)
class World:
    """This process among all."""

    rank: int
    size: int
    device: torch.device


def world() -> World:
    """Join the processes that a launcher started, on the first call; CUDA where there is one, else the CPU."""
    cpu = not torch.cuda.is_available() or os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true")
    state = PartialState(cpu=cpu, timeout=TIMEOUT, **({"backend": "gloo"} if cpu and _launched() else {}))
    return World(state.process_index, state.num_processes, state.device)


def _launched() -> bool:
    return int(os.environ.get("LOCAL_RANK", -1)) != -1 or int(os.environ.get("WORLD_SIZE", 1)) > 1


def _size() -> int:
    return distributed.get_world_size() if distributed.is_initialized() else 1


def _rank() -> int:
    return distributed.get_rank() if distributed.is_initialized() else 0


def main_process() -> bool:
    """Whether this is the process that logs, validates and writes."""
    return _rank() == 0


def barrier() -> None:
    """Wait for all processes."""
    if _size() > 1:
        distributed.barrier()


def process_rows(count: int, rank: int | None = None) -> slice:
    """The rows of ``count`` that this process (or ``rank``) works on: contiguous, in order of rank, may be empty."""
    rank, size = _rank() if rank is None else rank, _size()
    each, more = divmod(count, size)
    start = rank * each + min(rank, more)
    return slice(start, start + each + (rank < more))


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, local: Tensor, anchor: Tensor, count: int) -> Tensor:
        ctx.count = count
        tallest = -(-count // _size())
        padded = local.new_zeros(tallest, *local.shape[1:])
        padded[: len(local)] = local
        parts = [torch.empty_like(padded) for _ in range(_size())]
        distributed.all_gather(parts, padded)
        return torch.cat([rows[: _length(process_rows(count, rank))] for rank, rows in enumerate(parts)])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return grads[0][process_rows(ctx.count)].contiguous(), None, None


def _length(rows: slice) -> int:
    return int(rows.stop - rows.start)


def gather_rows(local: Tensor, count: int) -> Tensor:
    """All processes' rows in order.

    Args:
        local: (n, C) rows of ``process_rows(count)``; n may be 0 and differ between processes, C and dtype may not.
        count: rows of all processes together.

    Returns:
        (count, C). In the backward pass the gradient of the local rows comes back as it is, once: the loss after it
        must be the same in all processes, and :func:`sum_gradients` must follow.
    """
    if _size() == 1:
        return local
    anchor = torch.zeros((), requires_grad=torch.is_grad_enabled())  # a process without rows needs a graph too
    return torch.as_tensor(_Gather.apply(local, anchor, count))


class _Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, parameter: Tensor) -> Tensor:
        return parameter.view_as(parameter)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0] if main_process() else torch.zeros_like(grads[0])


def replicated(parameter: Tensor) -> Tensor:
    """A parameter that every process uses in the same global loss (a learnable IDF): its gradient counts once."""
    return parameter if _size() == 1 else torch.as_tensor(_Once.apply(parameter))


def sum_gradients(parameters: Iterable[Tensor]) -> None:
    """Sum the gradients over all processes, in flat tensors; a process without one counts as zeros."""
    if _size() == 1:
        return
    trainable = [p for p in parameters if p.requires_grad]
    if not trainable:
        return
    used = torch.tensor([p.grad is not None for p in trainable], dtype=torch.int32, device=trainable[0].device)
    distributed.all_reduce(used)
    bucket: list[Tensor] = []
    for parameter, processes in zip(trainable, used.tolist(), strict=True):
        if processes:  # one without gradient anywhere stays so: an optimiser passes it over
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            bucket.append(parameter.grad)
            if sum(grad.numel() for grad in bucket) >= BUCKET_ELEMENTS:
                _sum(bucket)
                bucket = []
    _sum(bucket)


def _sum(tensors: list[Tensor]) -> None:
    if not tensors:
        return
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    distributed.all_reduce(flat)
    start = 0
    for tensor in tensors:
        tensor.copy_(flat[start : start + tensor.numel()].view_as(tensor))
        start += tensor.numel()


def broadcast(parameters: Iterable[Tensor]) -> None:
    """Give all processes the main one's values, in place."""
    if _size() > 1:
        for parameter in parameters:
            distributed.broadcast(parameter.data, src=0)


def sum_value(value: float) -> float:
    """Sum of a number over all processes, the same in each."""
    if _size() == 1:
        return value
    total = torch.tensor(value, dtype=torch.float64, device=world().device)
    distributed.all_reduce(total)
    return float(total)


def any_process(flag: bool) -> bool:
    """Whether the flag is set anywhere; the same answer in each process."""
    return sum_value(float(flag)) > 0


def gather_objects(value: Any) -> list[Any]:
    """Each process's value, in order of rank."""
    if _size() == 1:
        return [value]
    values: list[Any] = [None] * _size()
    distributed.all_gather_object(values, value)
    return values


def from_main(value: Any) -> Any:
    """The main process's value in all processes."""
    if _size() == 1:
        return value
    box = [value]
    distributed.broadcast_object_list(box, src=0)
    return box[0]
