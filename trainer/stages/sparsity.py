"""Regularisation of the ranking stage: FLOPS and its variants, their weight lambda, and alarms."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from osparse.errors import CheckError
from osparse.trainer.config.run_config import SparsityConfig
from osparse.trainer.config.stage_config import settled
from osparse.trainer.losses.regularisation import df_activation, flops, idf_penalty, quadratic_warmup

log = logging.getLogger("osparse.trainer.stages.sparsity")
SMOOTHING = 0.9
"""Of the moving averages of non-zeros and empty documents: the last ten steps or so."""
GAIN = 0.03
"""Change of log lambda per step when the non-zeros are e times their target: slow beside the model's answer."""
LIMITS = (1e-3, 1e3)
"""Of what steering and backing off multiply lambda by."""
DF_VISITS = 50
"""Observations of a column that its document frequency is the running mean of."""
PATIENCE = 20
"""Steps between two alarms, so that a changed lambda has time to work; the pause between two warnings doubles."""


class Sparsity:
    """Regularisation of a ranking stage. Its state is what the steps so far have shown of the model."""

    def __init__(self, config: SparsityConfig, steps: int, idf: NDArray[np.float32], rows: int) -> None:
        """Args:
        steps: Optimiser steps of the stage.
        idf: (V,) query weights; rows beyond the tokenizer have none.
        rows: V of the decoder.
        """
        self.config, self.steps, self.rows = config, steps, rows
        self.idf = torch.ones(rows)
        self.idf[: len(idf)] = torch.from_numpy(idf)
        self.multiplier = 1.0
        self.nonzeros: float | None = None
        self.empty: float | None = None
        self.quiet_until = 0
        self.frequency = torch.zeros(rows if config.df else 0)
        self.visits = torch.zeros(rows if config.df else 0)

    def columns(self, generator: np.random.Generator) -> NDArray[np.int64]:
        """The vocabulary columns that this step's penalty looks at, drawn without replacement."""
        return generator.permutation(self.rows)[: self.config.columns or self.rows]

    def penalty(self, weights: Tensor, columns: NDArray[np.int64], slots: list[int]) -> tuple[Tensor, Tensor]:
        """FLOPS, and what lambda multiplies: FLOPS with the configured extras.

        Args:
            weights: (N, C) of the step's documents. columns: (C,) their ids. slots: (N,) place of each document.
        """
        config, scale = self.config, self.rows / len(columns)
        chosen = torch.from_numpy(columns)
        terms = None
        if config.df is not None:
            self._count(weights.detach().cpu(), chosen)
            terms = df_activation(self.frequency[chosen], half=config.df.half, steepness=config.df.steepness)
        elif config.idf_weighted:
            terms = self.idf[chosen]
        flops_value = flops(
            weights,
            threshold=config.threshold,
            slots=torch.tensor(slots, device=weights.device) if config.grouped else None,
            terms=None if terms is None else terms.to(weights.device),
            scale=scale,
        )
        total = flops_value
        if config.idf_penalty:
            total = flops_value + config.idf_penalty * idf_penalty(
                weights, self.idf[chosen].to(weights.device), scale=scale
            )
        return flops_value, total

    def weight(self, step: int) -> float:
        """lambda of an optimiser step: the schedule times the multiplier that steering and alarms changed."""
        config = self.config
        return self.multiplier * quadratic_warmup(
            step, self.steps, weight=config.weight, warmup=config.warmup, floor=config.floor
        )

    def observe(self, step: int, nonzeros: float, empty: float) -> None:
        """Update from a step: mean non-zeros per document and the share of all-zero documents.

        Raises :class:`CheckError` for an alarm whose action is ``stop``.
        """
        self.nonzeros = nonzeros = _smooth(self.nonzeros, nonzeros)
        self.empty = empty = _smooth(self.empty, empty)
        risen = step >= self.config.warmup * self.steps
        if self.config.target_nonzeros is not None and risen:
            error = math.log(max(nonzeros, 1e-3) / settled(self.config.target_nonzeros))
            tolerated = math.log(self.config.tolerance)
            error -= max(-tolerated, min(tolerated, error))
            self._scale(math.exp(GAIN * max(-1.0, min(1.0, error))))
        if self.config.alarms is not None and step >= self.quiet_until:
            if empty > self.config.alarms.empty:
                self._alarm(step, f"{100 * empty:.1f} % of the documents have no weight left", 0.5)
            elif risen and nonzeros > self.config.alarms.nonzeros:
                self._alarm(step, f"documents have {nonzeros:.0f} non-zeros on average", 2.0)

    def state_dict(self) -> dict[str, Any]:
        state = {name: getattr(self, name) for name in _STATE}
        return {name: value.clone() if isinstance(value, Tensor) else value for name, value in state.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name in _STATE:
            setattr(self, name, state[name])

    def _count(self, weights: Tensor, columns: Tensor) -> None:
        """Document frequency of the columns as a running mean, so that no further documents need be encoded."""
        self.visits[columns] = (self.visits[columns] + 1).clamp(max=DF_VISITS)
        share = (weights > 0).float().mean(0)
        self.frequency[columns] += (share - self.frequency[columns]) / self.visits[columns]

    def _scale(self, factor: float) -> None:
        self.multiplier = max(LIMITS[0], min(LIMITS[1], self.multiplier * factor))

    def _alarm(self, step: int, finding: str, factor: float) -> None:
        alarms = self.config.alarms
        if alarms is None:
            return
        remedy = "lower sparsity.weight or raise its warmup" if factor < 1 else "raise sparsity.weight"
        if alarms.action == "stop":
            raise CheckError(f"step {step}: {finding}, and sparsity.alarms.action is stop; {remedy}")
        self.quiet_until = step + PATIENCE
        if alarms.action == "back_off":
            self._scale(factor)
            log.warning("step %d: %s; lambda is now %.3g times its schedule", step, finding, self.multiplier)
        else:
            self.quiet_until = step + max(PATIENCE, step)
            log.warning("step %d: %s; %s", step, finding, remedy)


_STATE = ("multiplier", "nonzeros", "empty", "quiet_until", "frequency", "visits")


def _smooth(before: float | None, now: float) -> float:
    return now if before is None else SMOOTHING * before + (1 - SMOOTHING) * now
