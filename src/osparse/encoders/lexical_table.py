"""What a document's own tokens give it without the network: their frequency, and their translations.

    added_j = sum over the document's tokens t of s_t M[t, j],   s_t = (k1 + 1) tf / (tf + k1 (1 - b + b |d| / average))

s is the document side of BM25 (Robertson and Zaragoza 2009, The Probabilistic Relevance Framework): maximum pooling
knows neither how often a token occurs nor how long the document is. M holds a few entries per token: the token itself,
and the tokens of other languages that it translates (Berger and Lafferty 1999, Information Retrieval as Statistical
Translation), so a pair of words that was seen once is kept, which a network of some hundred dimensions cannot.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from osparse.contracts.model import LEXICAL_TABLE
from osparse.errors import ModelError
from osparse.io.files import canonical_json

_SETTINGS = ("k1", "b", "average")


class LexicalTable(nn.Module):
    """(B, T) ids and mask -> (B, V) weights >= 0, to be added to the network's."""

    targets: Tensor
    """(V, K) int64 vocabulary ids."""
    weights: Tensor
    """(V, K) fp32 >= 0; 0 where a token has fewer entries."""

    def __init__(self, targets: Tensor, weights: Tensor, *, k1: float, b: float, average: float) -> None:
        """``average``: ids of a training document, special ones included."""
        super().__init__()
        self.register_buffer("targets", targets.long(), persistent=False)
        self.register_buffer("weights", weights.float(), persistent=False)
        self.k1, self.b, self.average = k1, b, average

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(B, T) int64 ids and mask -> (B, V); memory grows with B x V and B x T x K."""
        real = attention_mask.to(self.weights.dtype)
        zeros = real.new_zeros(input_ids.shape[0], self.targets.shape[0])
        frequency = zeros.scatter_add(1, input_ids, real).gather(1, input_ids).clamp(min=1)  # (B, T); padding has none
        norm = self.k1 * (1 - self.b + self.b * real.sum(1, keepdim=True) / self.average)
        share = real * (self.k1 + 1) / (frequency + norm)  # over a token's occurrences they sum to s_t
        added = share.unsqueeze(2) * self.weights[input_ids]  # (B, T, K)
        return zeros.scatter_add(1, self.targets[input_ids].flatten(1), added.flatten(1))

    def write(self, folder: Path) -> None:
        """Write the table's file into a model folder."""
        settings = {name: getattr(self, name) for name in _SETTINGS}
        tensors = {"targets": self.targets.cpu().contiguous(), "weights": self.weights.cpu().contiguous()}
        # one key: safetensors writes several in an order that changes from call to call
        save_file(tensors, folder / LEXICAL_TABLE, metadata={"settings": canonical_json(settings)})


def read_table(folder: Path, rows: int) -> LexicalTable | None:
    """The table of a model folder, None where it has none; ``rows``: those of the decoder.

    Raises :class:`ModelError` if it cannot be read or does not fit.
    """
    path = folder / LEXICAL_TABLE
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            stored = json.loads(file.metadata()["settings"])
            settings = {name: float(stored[name]) for name in _SETTINGS}
            table = LexicalTable(file.get_tensor("targets"), file.get_tensor("weights"), **settings)
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as problem:
        raise ModelError(f"{path} is not a lexical table: {problem}; train again with: osparse train") from None
    targets, weights = table.targets, table.weights
    if targets.shape != weights.shape or targets.dim() != 2 or len(targets) != rows:
        raise ModelError(
            f"{path} has entries of shape {tuple(targets.shape)} and {tuple(weights.shape)}, the decoder {rows} rows; "
            "they do not belong together"
        )
    if targets.numel() and not 0 <= int(targets.min()) <= int(targets.max()) < rows:
        raise ModelError(f"{path} names ids outside the vocabulary of {rows}; train again with: osparse train")
    if not bool((weights >= 0).all()) or not bool(torch.isfinite(weights).all()):
        raise ModelError(f"{path} has negative or infinite weights; train again with: osparse train")
    return table
