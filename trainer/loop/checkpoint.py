"""Checkpoints: folders written whole or not at all, with everything that a step depends on.

    RUN/checkpoint/0001-00000200/    part 1, 200 steps done; the newest counts, the last k are kept
        state.json           stage, step, best validation, fingerprint of the run, processes, scaler, stage's values
        tensors.safetensors  model.*, adam.*, best.* (weights of the best validation), stage.*, rng.<process>.<device>

Schedules, batches and random windows are functions of the step's number, so they need no state of their own.
"""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from osparse.errors import InputError
from osparse.io.files import atomic_directory, pretty_json, read_json
from osparse.trainer.compute.distributed import barrier, gather_objects, main_process
from osparse.trainer.compute.gradient_cache import random_state, set_random_state

log = logging.getLogger("osparse.trainer.loop.checkpoint")
FOLDER = "checkpoint"
FORMAT = 2
_KEYS = {"format", "fingerprint", "stage", "step", "best", "processes", "scaler", "values"}


@dataclass(eq=False)
class Progress:
    """Where a run is, and the best it has seen."""

    fingerprint: str
    stage: int = 0
    """Position of the running stage; the number of stages when all are done."""
    step: int = 0
    """Steps done in the stage."""
    best: dict[str, Any] = field(default_factory=dict)
    """The best validation so far; empty before the first."""
    best_weights: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """One that was read."""

    progress: Progress
    tensors: dict[str, Tensor]
    values: dict[str, Any]
    """The JSON part of the stage's state."""
    scaler: dict[str, Any]
    processes: int

    @property
    def stage_state(self) -> dict[str, Any]:
        return {**self.values, **_part(self.tensors, "stage.")}


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """A copy on the CPU, each shared tensor once."""
    return {name: tensor.detach().cpu().clone() for name, tensor in model.named_parameters()}


def load_weights(model: nn.Module, weights: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(weights[name])


def save_checkpoint(
    run: Path,
    progress: Progress,
    model: nn.Module,
    optimiser: torch.optim.Optimizer | None,
    *,
    stage: dict[str, Any] | None = None,
    scaler: dict[str, Any] | None = None,
    random: list[Tensor] | None = None,
    keep: int = 1,
) -> None:
    """Add a checkpoint, then drop those older than the newest ``keep``. Every process calls it, the main one writes.

    Args:
        stage: its ``state_dict``. scaler: the gradient scaler's.
        random: state of the random generators of this process; None takes what they are now.
    """
    states = gather_objects(random_state() if random is None else random)
    if main_process():
        target = run / FOLDER / f"{progress.stage:04d}-{progress.step:08d}"
        if not target.exists():  # one of this very step holds the same
            _write(target, progress, model, optimiser, stage or {}, scaler or {}, states)
        for old in _all(run)[:-keep]:
            shutil.rmtree(old, ignore_errors=True)
    barrier()


def _write(
    target: Path,
    progress: Progress,
    model: nn.Module,
    optimiser: torch.optim.Optimizer | None,
    stage: dict[str, Any],
    scaler: dict[str, Any],
    states: list[list[Tensor]],
) -> None:
    tensors = {f"model.{name}": tensor for name, tensor in weights_of(model).items()}
    tensors |= {f"best.{name}": tensor for name, tensor in progress.best_weights.items()}
    for number, state in (optimiser.state_dict()["state"] if optimiser else {}).items():
        tensors |= {f"adam.{number}.{key}": value.detach().cpu().contiguous() for key, value in state.items()}
    for process, devices in enumerate(states):
        tensors |= {f"rng.{process}.{device}": state for device, state in enumerate(devices)}
    kept = {key: value for key, value in stage.items() if isinstance(value, Tensor)}
    tensors |= {f"stage.{key}": value.detach().cpu().contiguous() for key, value in kept.items()}
    state = {
        "format": FORMAT, "fingerprint": progress.fingerprint, "stage": progress.stage, "step": progress.step,
        "best": progress.best, "processes": len(states), "scaler": scaler,
        "values": {key: value for key, value in stage.items() if key not in kept},
    }  # fmt: skip
    run = target.parent.parent
    written = run / f"{FOLDER}.new"  # beside: where there is a RUN/checkpoint, there is a whole one
    for left in (written, *run.glob(f".{written.name}.*")):  # by a kill; the run folder has one process
        shutil.rmtree(left, ignore_errors=True)
    with atomic_directory(written, marker="state.json") as folder:
        save_file(tensors, folder / "tensors.safetensors")
        (folder / "state.json").write_text(pretty_json(state), encoding="utf-8")
    target.parent.mkdir(exist_ok=True)
    os.replace(written, target)


def _all(run: Path) -> list[Path]:
    """Whole checkpoints, oldest first."""
    return sorted(path.parent for path in (run / FOLDER).glob("[0-9]*/state.json"))


def read_checkpoint(run: Path, fingerprint: str) -> Checkpoint:
    """The newest checkpoint.

    Raises :class:`InputError` if there is none, it is of another run or version, or its tensors cannot be read.
    """
    found = _all(run)
    again = "leave --resume out to start from the beginning"
    if not found:
        raise InputError(f"there is no checkpoint in {run} to resume; {again}")
    raw = read_json(found[-1] / "state.json")
    if not isinstance(raw, dict) or raw.keys() != _KEYS or raw["format"] != FORMAT:
        raise InputError(f"{found[-1]} is not a checkpoint of this version; {again}")
    if raw["fingerprint"] != fingerprint:
        raise InputError(
            f"{found[-1]} was written with another configuration, dataset, tokenizer or IDF table; "
            f"resume with the same ones, or {again}"
        )
    path = found[-1] / "tensors.safetensors"
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as problem:
        raise InputError(
            f"{path} cannot be read ({problem}); remove that folder to go on from an older one, or {again}"
        ) from None
    progress = Progress(fingerprint, raw["stage"], raw["step"], raw["best"], _part(tensors, "best."))
    log.info("going on from %s", found[-1])
    return Checkpoint(progress, tensors, raw["values"], raw["scaler"], raw["processes"])


def restore(
    checkpoint: Checkpoint,
    model: nn.Module,
    optimiser: torch.optim.Optimizer | None,
    *,
    process: int = 0,
    processes: int = 1,
) -> None:
    """Put weights, optimiser and this process's random state back."""
    load_weights(model, _part(checkpoint.tensors, "model."))
    if checkpoint.processes == processes:
        states = _part(checkpoint.tensors, f"rng.{process}.")
        here = len(random_state())  # another machine may have no GPU, and promises no equal bits anyway
        set_random_state([states[str(device)] for device in range(min(here, len(states)))])
    else:
        log.warning(
            "the checkpoint was written by %d processes and %d go on: the batches stay the same, but dropout does not",
            checkpoint.processes, processes,
        )  # fmt: skip
    states_of: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _part(checkpoint.tensors, "adam.").items():
        number, key = name.split(".", 1)
        states_of.setdefault(int(number), {})[key] = tensor
    if optimiser is not None and states_of:
        optimiser.load_state_dict({"state": states_of, "param_groups": optimiser.state_dict()["param_groups"]})


def drop_checkpoints(run: Path) -> None:
    """Remove what an earlier run left, saying so."""
    shutil.rmtree(run / f"{FOLDER}.new", ignore_errors=True)
    if (run / FOLDER).exists():
        log.warning("%s is dropped and training starts from the beginning; --resume would have gone on", run / FOLDER)
        shutil.rmtree(run / FOLDER)


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
