"""New ids for the tokens that stay: those with a low enough id keep it, the others fill the gaps.

So the special tokens of most checkpoints stay where they were, and the padding token with them, from whose id a RoBERTa
counts its positions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable


def deal_ids(own: Collection[int], added: Iterable[int]) -> dict[int, int]:
    """Old id -> new id, from 0 on without gaps.

    Args:
        own: old ids of the tokens of the tokenizer's model.
        added: old ids of added tokens that the model does not have; the tokenizers library numbers them after those.
    """
    stay = {i for i in own if i < len(own)}
    free = iter([i for i in range(len(own)) if i not in stay])
    dealt = {i: i if i in stay else next(free) for i in sorted(own)}
    return dealt | {i: len(own) + n for n, i in enumerate(sorted(added))}
