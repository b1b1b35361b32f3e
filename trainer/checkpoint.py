"""Checkpoints: one folder, written whole or not at all, with everything that a step depends on.

    state.json           stage, step, best validation, fingerprint of the run
    tensors.safetensors  model.*, adam.*, best.* (weights of the best validation), rng, cuda_rng.*

Schedules, batches and random windows are functions of the step's number, so they need no state of their own.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from osparse.errors import InputError
from osparse.files import atomic_directory, pretty_json, read_json

FOLDER = "checkpoint"


@dataclass
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


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """A copy on the CPU, each shared tensor once."""
    return {name: tensor.detach().cpu().clone() for name, tensor in model.named_parameters()}


def load_weights(model: nn.Module, weights: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(weights[name])


def save_checkpoint(run: Path, progress: Progress, model: nn.Module, optimiser: torch.optim.Optimizer | None) -> None:
    """Replace the run's checkpoint in one step."""
    tensors = {f"model.{name}": tensor for name, tensor in weights_of(model).items()}
    tensors |= {f"best.{name}": tensor for name, tensor in progress.best_weights.items()}
    tensors["rng"] = torch.get_rng_state()
    if torch.cuda.is_available():  # dropout draws there
        tensors |= {f"cuda_rng.{n}": state for n, state in enumerate(torch.cuda.get_rng_state_all())}
    for number, state in (optimiser.state_dict()["state"] if optimiser else {}).items():
        tensors |= {f"adam.{number}.{key}": value.detach().cpu().contiguous() for key, value in state.items()}
    state = {key: value for key, value in asdict(progress).items() if key != "best_weights"}
    with atomic_directory(run / FOLDER, marker="state.json", overwrite=True) as folder:
        save_file(tensors, folder / "tensors.safetensors")
        (folder / "state.json").write_text(pretty_json(state), encoding="utf-8")


def read_progress(run: Path, fingerprint: str) -> Progress:
    """Where the checkpoint stands; raises :class:`InputError` if there is none or it is of another run."""
    path = run / FOLDER / "state.json"
    if not path.is_file():
        raise InputError(f"there is no checkpoint in {run} to resume; leave --resume out to start from the beginning")
    raw = read_json(path)
    if not isinstance(raw, dict) or raw.keys() != {"fingerprint", "stage", "step", "best"}:
        raise InputError(
            f"{path} is not a checkpoint's of this version; leave --resume out to start from the beginning"
        )
    progress = Progress(**raw)
    if progress.fingerprint != fingerprint:
        raise InputError(
            f"{run}/{FOLDER} was written with another configuration, dataset, tokenizer or IDF table; "
            "resume with the same ones, or leave --resume out to start from the beginning"
        )
    return progress


def load_tensors(run: Path) -> dict[str, Tensor]:
    path = run / FOLDER / "tensors.safetensors"
    try:
        return load_file(path)
    except (OSError, SafetensorError) as problem:
        raise InputError(f"{path} cannot be read ({problem}); train again without --resume") from None


def restore(
    tensors: dict[str, Tensor], progress: Progress, model: nn.Module, optimiser: torch.optim.Optimizer | None
) -> None:
    """Put weights, best weights, optimiser and random state back."""
    load_weights(model, _part(tensors, "model."))
    progress.best_weights = _part(tensors, "best.")
    torch.set_rng_state(tensors["rng"])
    if torch.cuda.is_available():  # devices of both sittings; another machine promises no equal bits anyway
        for device, state in list(_part(tensors, "cuda_rng.").items())[: torch.cuda.device_count()]:
            torch.cuda.set_rng_state(state, int(device))
    states: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _part(tensors, "adam.").items():
        number, key = name.split(".", 1)
        states.setdefault(int(number), {})[key] = tensor
    if optimiser is not None and states:
        optimiser.load_state_dict({"state": states, "param_groups": optimiser.state_dict()["param_groups"]})


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
