"""The network of own_encoder.yaml: an example of ``encoder.factory``, to copy and change."""

from __future__ import annotations

from typing import Any

from transformers import DistilBertConfig, DistilBertForMaskedLM


def make(lexicon: Any, config: Any) -> Any:
    """A transformers masked-LM with a row for each of ``lexicon.tokens``; ``config`` is the TrainConfig."""
    shape = DistilBertConfig(
        vocab_size=len(lexicon.tokens),
        dim=256,
        hidden_dim=512,
        n_layers=2,
        n_heads=4,
        max_position_embeddings=max(512, config.head.max_length),
        dropout=0.0,
        attention_dropout=0.0,
    )
    return DistilBertForMaskedLM(shape)
