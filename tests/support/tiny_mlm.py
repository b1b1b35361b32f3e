"""A tiny random masked-LM of transformers for every architecture that osparse knows."""

from __future__ import annotations

from typing import Any

VOCABULARY = 50


def tiny(kind: str) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForMaskedLM

    from osparse.masked_lm.architectures import find

    find(kind)  # registers what transformers lacks
    names = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    if kind == "distilbert":
        names = {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 24}
    if kind == "electra":
        names |= {"embedding_size": 12}
    torch.manual_seed(0)
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
    config = AutoConfig.for_model(kind, vocab_size=VOCABULARY, **names, **special)
    made = AutoModelForMaskedLM.from_config(config)  # type: ignore[no-untyped-call]
    return made.eval()
