"""Out of memory, said with what to do about it."""

from __future__ import annotations

from pathlib import Path

import torch

from osparse.errors import OsparseError

_WORDS = ("out of memory", "can't allocate memory", "not enough memory", "alloc_cpu")
"""What torch's CPU and device allocators say in a RuntimeError."""


def is_out_of_memory(problem: BaseException) -> bool:
    if isinstance(problem, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(problem, RuntimeError) and any(word in str(problem).lower() for word in _WORDS)


def out_of_memory(problem: BaseException, where: str, micro_batch: int | None, run: Path) -> OsparseError:
    """The error to raise in place of ``problem``; ``where`` is a stage and step."""
    first = str(problem).strip().partition("\n")[0] or type(problem).__name__
    smaller = max(1, (micro_batch or 64) // 2)
    return OsparseError(
        f"{where}: out of memory ({first}). What is learned so far is in {run}; go on with --resume and less at a "
        f"time: --set loop.micro_batch={smaller}, or --set loop.gradient_checkpointing=true. Both leave the result as "
        "it is; a smaller max_length or batch of the stage also helps, but is another run"
    )
