"""AdamW over an encoder: which parameters decay, and which learn at a rate of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from osparse.encoders.torch_encoder import SparseEncoder
from osparse.trainer.compute.learning_rate import learning_rate
from osparse.trainer.config.run_config import MaskedLm, Ranking

CLIP = 1.0
"""Largest gradient norm; BERT's."""
BETAS = (0.9, 0.98)
WEIGHT_DECAY = 0.01


def make_optimiser(encoder: SparseEncoder, rate: float, own_rates: Mapping[str, float | None]) -> torch.optim.Optimizer:
    """AdamW; no weight decay on biases, layer norms and parameters with a rate of their own.

    Args:
        rate: peak learning rate. own_rates: that of parameters by name; None leaves a parameter as it is, without a
            gradient: nothing would clear it, and it would count in the norm that is clipped.
    """
    for name, parameter in encoder.named_parameters():
        if name in own_rates:
            parameter.requires_grad_(own_rates[name] is not None)
    named = [(name, p) for name, p in encoder.named_parameters() if p.requires_grad]
    common = [p for name, p in named if name not in own_rates]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in common if p.ndim > 1], "weight_decay": WEIGHT_DECAY, "peak": rate},
        {"params": [p for p in common if p.ndim <= 1], "weight_decay": 0.0, "peak": rate},
    ]
    for name, parameter in named:
        own = own_rates.get(name)
        if own is not None:
            groups.append({"params": [parameter], "weight_decay": 0.0, "peak": own})
    return torch.optim.AdamW(groups, lr=rate, betas=BETAS, eps=1e-8)


def set_rates(optimiser: torch.optim.Optimizer, config: MaskedLm | Ranking, step: int) -> float:
    """Give each group its learning rate of ``step``; returns the common one."""
    for group in optimiser.param_groups:
        group["lr"] = learning_rate(config.schedule, step, config.step_count, peak=group["peak"], warmup=config.warmup)
    return float(optimiser.param_groups[0]["lr"])
