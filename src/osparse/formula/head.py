"""How logits become document weights: the settings of a model's head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Activation = Literal["log1p_relu", "log1p_log1p_relu"]
ACTIVATIONS: tuple[Activation, ...] = ("log1p_relu", "log1p_log1p_relu")

SERVER_MAX_TOKENS = 512
"""ML Commons cuts every text to this many ids, the special ones included."""


@dataclass(frozen=True)
class Head:
    """How logits become document weights; written to osparse.json and baked into the packaged graph."""

    activation: Activation = "log1p_relu"
    max_length: int = 256
    """Ids per document, special ones included, in [2, 512]."""
    masked_ids: tuple[int, ...] = ()
    """Ids that never carry weight: special tokens and ids without a token."""
    prune_ratio: float = 0.0
    """Weights at most this share of the document's largest are dropped, in [0, 1)."""
    top_k: int | None = None
    """At most this many weights are kept, the largest; None keeps all."""
