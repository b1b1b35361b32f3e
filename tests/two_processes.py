"""What test_distributed.py runs in two processes: losses and gradients of them all, written by the main one.

python two_processes.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from osparse.trainer import distributed
from osparse.trainer.caching import cached_weights


def toy(count: int, chunk: int | None = None) -> dict[str, torch.Tensor]:
    """A global loss over ``count`` rows: softmax over all pairs, the square of the mean, a replicated parameter."""
    torch.manual_seed(0)
    layer, scale, idle = torch.nn.Linear(4, 3), torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(2))
    inputs: Any = torch.randn(count, 4)
    local = inputs[distributed.share(count)]
    encoded = cached_weights(layer, local, chunk) if len(local) else local.new_zeros(0, 3)
    weights = distributed.gather_rows(encoded, count)
    scores = (weights * distributed.replicated(scale)) @ weights.T
    loss = torch.nn.functional.cross_entropy(scores, torch.arange(count)) + weights.mean(0).square().sum()
    loss.backward()
    distributed.sum_gradients([*layer.parameters(), scale, idle])
    assert idle.grad is None
    grads = {"weight": layer.weight.grad, "bias": layer.bias.grad, "scale": scale.grad}
    return {"loss": loss.detach(), **{name: grad for name, grad in grads.items() if grad is not None}}


def main(folder: Path) -> None:
    distributed.world()
    found = {f"{count}.{name}": value for count in (1, 5, 8) for name, value in toy(count).items()}
    found |= {f"cached.{name}": value for name, value in toy(8, chunk=3).items()}
    found["values"] = torch.tensor(
        [distributed.sum_value(1.5), float(distributed.any_process(distributed.main_process()))]
    )
    found["objects"] = torch.tensor(distributed.gather_objects(10 + distributed.world().rank))
    found["main"] = torch.tensor(distributed.from_main(distributed.world().rank))
    distributed.barrier()
    if distributed.main_process():
        save_file(found, folder / "found.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
