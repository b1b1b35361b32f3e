"""Matryoshka sparsity: one encoding of a document, cut to several numbers of non-zeros (budgets), scored at each.

Matryoshka representations (Kusupati et al. 2022, arXiv 2205.13147) train prefixes of a dense vector; here, as in
contrastive sparse representations (arXiv 2503.01776), a budget keeps the largest weights. The budgets are nested: what
a small one keeps, the larger ones keep too. So the number of budgets that keep a weight says which ones do.

Pure functions: no model, no state. N documents, V vocabulary ids, C columns of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def budgets_keeping(weights: Tensor, budgets: Sequence[int], columns: Tensor) -> Tensor:
    """How many of the budgets keep each weight: those below which fewer weights of the document are larger.

    Ties with the last weight that is kept are kept, as when a document is encoded to be indexed.

    Args:
        weights: (N, V) all weights of the documents, as served. budgets: numbers of non-zeros >= 1.
        columns: (C,) ids of the weights to count for.

    Returns:
        (N, C) whole numbers in fp32; 0 for a weight of 0.
    """
    width = weights.shape[1]
    largest = weights.topk(min(max(budgets), width), dim=1).values  # (N, K)
    chosen = weights.index_select(1, columns)
    counts = torch.zeros_like(chosen)
    for budget in budgets:
        counts += chosen >= largest[:, min(budget, width) - 1, None]
    return counts * (chosen > 0)


def cut_to_budgets(weights: Tensor, counts: Tensor, budgets: int) -> list[Tensor]:
    """The weights that each budget keeps, from the smallest budget on; the others are 0 and get no gradient.

    Args:
        weights: (N, C). counts: (N, C) of :func:`budgets_keeping`. budgets: how many there are.
    """
    return [weights * (counts >= budgets - place) for place in range(budgets)]
