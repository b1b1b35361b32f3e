"""Padded tensors of token sequences: sequences of similar lengths are padded together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from osparse.errors import ModelError
from osparse.formula.lexicon import load_tokenizer

Ids = NDArray[np.int64]
ROWS = 16
"""Sequences padded together on a CPU: fewer pad less, and their states stay in its caches."""
DEVICE_ROWS = 128
"""Sequences padded together on a GPU, which needs larger batches to be busy."""


@dataclass(frozen=True, eq=False)
class SpecialTokens:
    """Ids that a tokenizer puts around a text, and those for padding and masking."""

    before: Ids
    after: Ids
    pad: int
    mask: int | None
    """None where the tokenizer has no mask token."""

    @classmethod
    def of(cls, tokenizer: Path) -> SpecialTokens:
        """Read it off a tokenizer.json by encoding a text; raises :class:`ModelError` if it has no ordinary token."""
        loaded = load_tokenizer(tokenizer)
        special = {i for i, token in loaded.get_added_tokens_decoder().items() if token.special}
        for text in ("a", "1", ".", "가"):
            ids = loaded.encode(text).ids
            inside = [n for n, i in enumerate(ids) if i not in special]
            if inside:
                break
        else:
            raise ModelError(f"{tokenizer} has no token for 'a', '1', '.' or '가'; train one on more text")
        named = [next((loaded.token_to_id(t) for t in names if loaded.token_to_id(t) is not None), None)
                 for names in (("[PAD]", "<pad>"), ("[MASK]", "<mask>"))]  # fmt: skip
        before, after = ids[: inside[0]], ids[inside[-1] + 1 :]
        return cls(np.array(before, np.int64), np.array(after, np.int64), named[0] or 0, named[1])

    @property
    def size(self) -> int:
        return len(self.before) + len(self.after)


def window(ids: Ids, limit: int, generator: np.random.Generator) -> Ids:
    """At most ``limit`` tokens: the beginning half of the time, a random window otherwise."""
    if len(ids) <= limit:
        return ids
    start = 0 if generator.random() < 0.5 else int(generator.integers(0, len(ids) - limit + 1))
    return ids[start : start + limit]


def buckets(
    sequences: Sequence[Ids], special: SpecialTokens, rows: int | None = None
) -> Iterator[tuple[NDArray[np.int64], Tensor, Tensor]]:
    """Yield (positions in ``sequences``, (B, T) int64 ids, (B, T) int64 mask), B <= rows, of similar lengths.

    ``rows`` None: as many as suit the machine.
    """
    rows = rows or (DEVICE_ROWS if torch.cuda.is_available() else ROWS)
    order = np.argsort([-len(s) for s in sequences], kind="stable")
    for start in range(0, len(order), rows):
        chosen = order[start : start + rows]
        framed = [np.concatenate([special.before, sequences[i], special.after]) for i in chosen]
        length = max(map(len, framed))
        ids = np.full((len(framed), length), special.pad, dtype=np.int64)
        mask = np.zeros((len(framed), length), dtype=np.int64)
        for row, sequence in enumerate(framed):
            ids[row, : len(sequence)] = sequence
            mask[row, : len(sequence)] = 1
        yield chosen, torch.from_numpy(ids), torch.from_numpy(mask)
