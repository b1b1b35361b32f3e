"""How logits become document weights: the settings of a model's head."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

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
    keep_own: bool = False
    """The document's own tokens are never dropped: ``prune_ratio`` and ``top_k`` cut its other terms alone."""
    own_share: float = 1.0
    """Share of the network's weight that the document's own tokens get, in [0, 1]; the lexical table adds to it."""
    network_length: int | None = None
    """Ids that the network reads at most, the first ones, at least 2; the lexical table reads ``max_length``. None: the
    network reads as many."""

    @property
    def network_reads(self) -> int:
        """Ids of a document that the network reads at most."""
        return min(self.max_length, self.network_length or self.max_length)

    def capped(self, top_k: int) -> Head:
        """With at most ``top_k`` weights per document, whichever they are of: its own tokens may be dropped too."""
        return replace(self, top_k=top_k, keep_own=False)

    def settings(self) -> dict[str, Any]:
        """The fields as JSON has them, without those of later versions that change nothing.

        So an earlier version reads the models that it would have made, and their fingerprints stay.
        """
        return {name: value for name, value in asdict(self).items() if name not in _LATER or value != _LATER[name]}


_LATER = {"keep_own": False, "own_share": 1.0, "network_length": None}
"""Fields of later versions -> the value with which a head works as before them."""
