"""How the transformer body is computed while training: its precision, activation checkpointing, compilation.

Only ``SparseEncoder.hidden`` runs in low precision, and only while training: the sparse head, scores and losses stay in
fp32 (scores of 20 to 60 leave bf16 no digits that matter), and validation measures the fp32 model that is served.
"""

from __future__ import annotations

import logging
import shutil
from typing import Any

import torch

from osparse.encoders.torch_encoder import SparseEncoder
from osparse.errors import ConfigError
from osparse.trainer.config.run_config import LoopConfig

log = logging.getLogger("osparse.trainer.compute.precision")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
SMALLEST_SCALE = 1e-3
"""Below it fp16 gradients overflow for another reason than their scale."""


def configure_computation(encoder: SparseEncoder, config: LoopConfig, device: torch.device) -> None:
    """Make ``encoder`` train as configured, in place; raises :class:`ConfigError` if the machine cannot."""
    _check(config, device)
    if config.gradient_checkpointing:
        try:
            _checkpoint_gradients(encoder.mlm)
        except (ValueError, AttributeError) as problem:
            raise ConfigError("loop", [f"gradient_checkpointing: {problem}; set it to false"]) from None
    if config.compile:
        _try_compiler(device)
        encoder.architecture.body(encoder.mlm).compile(dynamic=True)
    if config.precision != "fp32":
        encoder.training_dtype = DTYPES[config.precision]


def _checkpoint_gradients(mlm: Any) -> None:
    if hasattr(mlm, "activation_checkpointing_enable"):  # the newer name of the two
        mlm.activation_checkpointing_enable({"use_reentrant": False})
    else:
        mlm.gradient_checkpointing_enable({"use_reentrant": False})


def _check(config: LoopConfig, device: torch.device) -> None:
    if config.precision == "fp16" and device.type == "cpu":
        raise ConfigError("loop", ["precision: fp16 needs a GPU, and this process runs on the CPU; use fp32 or bf16"])
    if config.precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        name = torch.cuda.get_device_name(device)
        raise ConfigError("loop", [f"precision: {name} does not compute in bf16; use fp16 or fp32"])
    if config.precision == "bf16" and device.type == "cpu":
        log.warning("bf16 on a CPU is slower than fp32 unless the CPU has instructions for it")


def _try_compiler(device: torch.device) -> None:
    """Compile something small: the error of a missing compiler, header or Triton is clearer here than in a step."""
    try:
        torch.compile(lambda x: torch.sin(x) + 1)(torch.ones(8, device=device))
    except Exception as problem:  # noqa: BLE001 - torch raises whatever its back end met
        compiler = "a C++ compiler (g++ or clang++)" if device.type == "cpu" else "Triton and a C compiler"
        installed = [name for name in ("c++", "g++", "clang++", "gcc") if shutil.which(name)]
        first_line = str(problem).strip().partition("\n")[0]
        raise ConfigError(
            "loop",
            [f"compile: torch.compile needs {compiler}, and failed here ({type(problem).__name__}: {first_line}; found "
             f"{', '.join(installed) or 'no compiler'}); install it, or set compile: false"],
        ) from None  # fmt: skip


class LossScaler:
    """Keeps fp16 gradients above underflow by scaling the loss; does nothing in fp32 and bf16."""

    def __init__(self, config: LoopConfig, device: torch.device) -> None:
        self._scaler = torch.amp.GradScaler(device.type) if config.precision == "fp16" else None
        self._device = device

    @property
    def scale(self) -> float:
        """Factor of the loss before its backward pass."""
        if self._scaler is None:
            return 1.0
        return float(self._scaler.scale(torch.ones((), device=self._device)))

    def unscale(self, optimiser: torch.optim.Optimizer) -> None:
        if self._scaler is not None:
            self._scaler.unscale_(optimiser)

    def step(self, optimiser: torch.optim.Optimizer) -> None:
        """Step, unless a gradient overflowed; then the scale is halved for the next."""
        if self._scaler is None:
            optimiser.step()
        else:
            self._scaler.step(optimiser)
            self._scaler.update()

    @property
    def can_skip_step(self) -> bool:
        """Whether gradients that are not finite may come from the scale; the step is then skipped."""
        return self._scaler is not None and self.scale > SMALLEST_SCALE

    def state_dict(self) -> dict[str, Any]:
        return {} if self._scaler is None else dict(self._scaler.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self._scaler is not None and state:
            self._scaler.load_state_dict(state)
