from __future__ import annotations

from typing import Any

import pytest
import torch

from osparse.trainer.compute.gradient_cache import cached_weights


def loss(weights: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(weights @ weights.T, torch.arange(len(weights)))


@pytest.mark.parametrize("chunk", [1, 3, 7, 8, None])
def test_gradients_are_those_of_one_pass(chunk: int | None) -> None:
    torch.manual_seed(0)
    inputs: Any = torch.randn(8, 4)
    layer = torch.nn.Linear(4, 3)
    loss(layer(inputs)).backward()
    expected = [p.grad.clone() for p in layer.parameters()]  # type: ignore[union-attr]
    layer.zero_grad()
    loss(cached_weights(layer, inputs, chunk)).backward()
    for parameter, grad in zip(layer.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, grad, atol=1e-6, rtol=1e-6)


def test_the_second_pass_drops_the_same_and_leaves_the_random_state() -> None:
    torch.manual_seed(0)
    inputs: Any = torch.randn(8, 4)
    layer, dropout = torch.nn.Linear(4, 3), torch.nn.Dropout(0.5)
    state = torch.get_rng_state()

    def encode(part: Any) -> torch.Tensor:
        return torch.as_tensor(dropout(layer(part)))

    loss(torch.cat([encode(inputs[:5]), encode(inputs[5:])])).backward()  # the same chunks, with their graphs
    expected, after = layer.weight.grad, torch.get_rng_state()
    layer.zero_grad()
    torch.set_rng_state(state)
    loss(cached_weights(encode, inputs, 5)).backward()
    assert expected is not None and expected.abs().sum() > 0
    torch.testing.assert_close(layer.weight.grad, expected, atol=1e-6, rtol=1e-6)
    assert torch.equal(torch.get_rng_state(), after)


def test_one_chunk_at_a_time_has_a_graph() -> None:
    layer, seen = torch.nn.Linear(4, 3), []
    inputs: Any = torch.randn(5, 4)

    def encode(part: Any) -> torch.Tensor:
        seen.append((len(part), torch.is_grad_enabled()))
        return torch.as_tensor(layer(part))

    loss(cached_weights(encode, inputs, 2)).backward()
    assert seen == [(2, False), (2, False), (1, False), (2, True), (2, True), (1, True)]
