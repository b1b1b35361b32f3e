"""The encoder of a checkpoint whose library lets special tokens compete for the largest weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from osparse.encoders.lexical_table import LexicalTable
from osparse.encoders.torch_encoder import SparseEncoder
from osparse.formula.head import Head


class TopKOfAll(SparseEncoder):
    """(B, T) ids and mask -> (B, V) weights, of which the ``top_k`` largest of all ids are kept, then masked.

    sentence-transformers' ``max_active_dims`` counts special tokens; the server cannot have them as terms, so that a
    document may keep fewer than ``top_k``. A model of osparse is masked first.
    """

    ordinary: Tensor
    """(V,) 1.0, and 0.0 for masked ids."""

    def __init__(self, mlm: Any, head: Head, lexical: LexicalTable | None = None) -> None:
        """``lexical``: what a document's own tokens add to the weights."""
        super().__init__(mlm, head, lexical)
        self.register_buffer("ordinary", self.keep, persistent=False)
        self.keep = torch.ones_like(self.keep)

    def prune(self, weights: Tensor, own: Tensor | None = None) -> Tensor:
        """(B, V) -> (B, V): the ``top_k`` largest, without masked ids."""
        return super().prune(weights, own) * self.ordinary
