"""What test_distributed.py runs in one and in two processes: losses, gradients, a whole training run.

python two_processes.py DATASET INPUTS FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from osparse.contracts.dataset import Dataset
from osparse.trainer import train
from osparse.trainer.compute import distributed
from osparse.trainer.compute.gradient_cache import cached_weights
from osparse.trainer.config.inputs import read_inputs
from osparse.trainer.training import load_run


def toy(count: int, chunk: int | None = None) -> dict[str, Tensor]:
    """A global loss over ``count`` rows: softmax over all pairs, the square of the mean, a replicated parameter."""
    torch.manual_seed(0)
    layer, scale, idle = torch.nn.Linear(4, 3), torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(2))
    inputs: Any = torch.randn(count, 4)
    local = inputs[distributed.process_rows(count)]
    encoded = cached_weights(layer, local, chunk) if len(local) else local.new_zeros(0, 3)
    weights = distributed.gather_rows(encoded, count)
    scores = (weights * distributed.replicated(scale)) @ weights.T
    loss = torch.nn.functional.cross_entropy(scores, torch.arange(count)) + weights.mean(0).square().sum()
    loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
    distributed.sum_gradients([*layer.parameters(), scale, idle])
    assert idle.grad is None
    grads = {"weight": layer.weight.grad, "bias": layer.bias.grad, "scale": scale.grad}
    return {"loss": loss.detach(), **{name: grad for name, grad in grads.items() if grad is not None}}


def stage_gradients(dataset: Path, inputs: Path, *overrides: str) -> dict[str, Tensor]:
    """The loss and gradients of a step of each stage, from equal weights."""
    found = {}
    prepared = load_run(read_inputs(inputs / "run.yaml", Dataset.open(dataset), overrides))
    torch.manual_seed(1)
    for parameter in prepared.encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    for config, make in prepared.stages:
        prepared.encoder.zero_grad(set_to_none=True)
        prepared.encoder.train()
        result = make().backward(4)
        distributed.sum_gradients(prepared.encoder.parameters())
        found[f"{config.task}.loss"] = torch.tensor(result.parts["loss"])
        for name, parameter in prepared.encoder.named_parameters():
            if parameter.grad is not None:
                found[f"{config.task}.{name}"] = parameter.grad.clone()
    return found


def main(dataset: Path, inputs: Path, folder: Path) -> None:
    distributed.world()
    found = {f"toy.{count}.{name}": value for count in (1, 5, 8) for name, value in toy(count).items()}
    found |= {f"cached.{name}": value for name, value in toy(8, chunk=3).items()}
    found["values"] = torch.tensor(
        [distributed.sum_value(1.5), float(distributed.any_process(distributed.main_process()))]
    )
    found["objects"] = torch.tensor(distributed.gather_objects(10 + distributed.world().rank))
    found["main"] = torch.tensor(distributed.from_main(distributed.world().rank))
    found |= {f"stage.{name}": value for name, value in stage_gradients(dataset, inputs).items()}
    train(inputs / "run.yaml", dataset, folder / "model")
    if distributed.main_process():
        save_file(found, folder / "found.safetensors")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
