"""Checkpoints: folders that are written completely or not at all, with everything that a step depends on.

    RUN/checkpoint/0001-00000200/    part 1, 200 steps done; the newest counts, the last k are kept
        state.json           stage, step, measurements (start, last, best), fingerprint, processes, scaler, values
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
FORMAT = 3
_MEASURED = ("start", "last", "best")
_KEYS = {"format", "fingerprint", "stage", "step", *_MEASURED, "processes", "scaler", "values"}


@dataclass(eq=False)
class RunState:
    """Position of a run and its measurements so far."""

    fingerprint: str
    stage: int = 0
    """Position of the running stage; the number of stages when all are done."""
    step: int = 0
    """Steps done in the stage."""
    start: dict[str, Any] = field(default_factory=dict)
    """The measurement of the model before the first step; empty where the run starts from a new encoder."""
    last: dict[str, Any] = field(default_factory=dict)
    """The newest measurement of the last stage; empty before the first."""
    best: dict[str, Any] = field(default_factory=dict)
    """The best of ``start`` and the measurements of the last stage so far; empty before the first."""
    best_weights: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class TrainingCheckpoint:
    """A checkpoint as read from disk."""

    run_state: RunState
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
    state: RunState,
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
        target = run / FOLDER / f"{state.stage:04d}-{state.step:08d}"
        if not target.exists():  # a checkpoint of this step has the same content
            _write(target, state, model, optimiser, stage or {}, scaler or {}, states)
        for old in _all(run)[:-keep]:
            shutil.rmtree(old, ignore_errors=True)
    barrier()


def _write(
    target: Path,
    state: RunState,
    model: nn.Module,
    optimiser: torch.optim.Optimizer | None,
    stage: dict[str, Any],
    scaler: dict[str, Any],
    random_states: list[list[Tensor]],
) -> None:
    tensors = {f"model.{name}": tensor for name, tensor in weights_of(model).items()}
    tensors |= {f"best.{name}": tensor for name, tensor in state.best_weights.items()}
    for number, moments in (optimiser.state_dict()["state"] if optimiser else {}).items():
        tensors |= {f"adam.{number}.{key}": value.detach().cpu().contiguous() for key, value in moments.items()}
    for process, devices in enumerate(random_states):
        tensors |= {f"rng.{process}.{device}": tensor for device, tensor in enumerate(devices)}
    stage_tensors = {key: value for key, value in stage.items() if isinstance(value, Tensor)}
    tensors |= {f"stage.{key}": value.detach().cpu().contiguous() for key, value in stage_tensors.items()}
    content = {
        "format": FORMAT, "fingerprint": state.fingerprint, "stage": state.stage, "step": state.step,
        **{name: getattr(state, name) for name in _MEASURED}, "processes": len(random_states), "scaler": scaler,
        "values": {key: value for key, value in stage.items() if key not in stage_tensors},
    }  # fmt: skip
    run = target.parent.parent
    written = run / f"{FOLDER}.new"  # beside RUN/checkpoint, which holds complete checkpoints only
    for remains in (written, *run.glob(f".{written.name}.*")):  # of a killed process; the run folder has one process
        shutil.rmtree(remains, ignore_errors=True)
    with atomic_directory(written, marker="state.json") as folder:
        save_file(tensors, folder / "tensors.safetensors")
        (folder / "state.json").write_text(pretty_json(content), encoding="utf-8")
    target.parent.mkdir(exist_ok=True)
    os.replace(written, target)


def _all(run: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    return sorted(path.parent for path in (run / FOLDER).glob("[0-9]*/state.json"))


def read_checkpoint(run: Path, fingerprint: str) -> TrainingCheckpoint:
    """The newest checkpoint.

    Raises :class:`InputError` if there is none, it belongs to another run or version, or its tensors cannot be read.
    """
    checkpoints = _all(run)
    restart = "leave `resume` out to start from the beginning"
    if not checkpoints:
        raise InputError(f"there is no checkpoint in {run} to resume; {restart}")
    newest = checkpoints[-1]
    raw = read_json(newest / "state.json")
    if not isinstance(raw, dict) or raw.keys() != _KEYS or raw["format"] != FORMAT:
        raise InputError(f"{newest} is not a checkpoint of this version; {restart}")
    if raw["fingerprint"] != fingerprint:
        raise InputError(
            f"{newest} was written with another configuration, dataset, tokenizer or IDF table; "
            f"resume with the same ones, or {restart}"
        )
    path = newest / "tensors.safetensors"
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as problem:
        raise InputError(
            f"{path} cannot be read ({problem}); remove that folder to resume from an older one, or {restart}"
        ) from None
    state = RunState(
        fingerprint, raw["stage"], raw["step"], **{name: raw[name] for name in _MEASURED},
        best_weights=_part(tensors, "best."),
    )  # fmt: skip
    log.info("resuming from %s", newest)
    return TrainingCheckpoint(state, tensors, raw["values"], raw["scaler"], raw["processes"])


def restore(
    checkpoint: TrainingCheckpoint,
    model: nn.Module,
    optimiser: torch.optim.Optimizer | None,
    *,
    process: int = 0,
    processes: int = 1,
) -> None:
    """Restore weights, optimiser and this process's random state."""
    load_weights(model, _part(checkpoint.tensors, "model."))
    if checkpoint.processes == processes:
        states = _part(checkpoint.tensors, f"rng.{process}.")
        devices = len(random_state())  # another machine may have no GPU; equal bits are not promised across machines
        set_random_state([states[str(device)] for device in range(min(devices, len(states)))])
    else:
        log.warning(
            "the checkpoint was written by %d processes and is resumed by %d: batches stay the same, dropout does not",
            checkpoint.processes, processes,
        )  # fmt: skip
    states_of: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _part(checkpoint.tensors, "adam.").items():
        number, key = name.split(".", 1)
        states_of.setdefault(int(number), {})[key] = tensor
    if optimiser is not None and states_of:
        optimiser.load_state_dict({"state": states_of, "param_groups": optimiser.state_dict()["param_groups"]})


def drop_checkpoints(run: Path) -> None:
    """Remove the checkpoints of an earlier run, with a warning."""
    shutil.rmtree(run / f"{FOLDER}.new", ignore_errors=True)
    if (run / FOLDER).exists():
        log.warning(
            "%s is removed and training starts from the beginning; `resume=True` would have continued it", run / FOLDER
        )
        shutil.rmtree(run / FOLDER)


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
