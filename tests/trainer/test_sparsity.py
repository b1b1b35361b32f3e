"""Lambda steered, alarms, DF-FLOPS with the document frequencies of the run."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import torch

from osparse.errors import CheckError
from osparse.trainer.config.run_config import Alarms, DfFlops, SparsityConfig
from osparse.trainer.losses.regularisation import df_activation, flops, idf_penalty
from osparse.trainer.stages.sparsity import Sparsity

IDF = np.linspace(0.5, 8, 30, dtype=np.float32)


def made(steps: int = 300, **changes: object) -> Sparsity:
    plain: dict[str, object] = {"weight": 1e-3, "warmup": 0.1, "columns": 0}
    return Sparsity(SparsityConfig(**{**plain, **changes}), steps, IDF, 32)  # type: ignore[arg-type]


@pytest.mark.parametrize("start", [1e-5, 1e-3, 1e-1])
def test_lambda_is_steered_to_the_target_from_far_above_and_below(start: float) -> None:
    """A model whose log non-zeros answer log lambda with a lag of 20 steps."""
    control = made(1000, weight=start, target_nonzeros=120)
    nonzeros = 900.0
    for step in range(1000):
        settled = 120 * (control.weight(step) / 2e-3) ** -0.5
        nonzeros *= (min(settled, 5000.0) / nonzeros) ** 0.05
        control.observe(step, nonzeros, 0.0)
    assert nonzeros == pytest.approx(120, rel=0.1)


def test_within_its_tolerance_the_target_leaves_lambda_alone() -> None:
    """e times the tolerated non-zeros are steered as e times the target are without a tolerance."""
    for nonzeros in (100.0, 149.0, 67.0):
        control = made(target_nonzeros=100, tolerance=1.5)
        control.observe(200, nonzeros, 0.0)
        assert control.multiplier == 1.0
    beyond, plain = made(target_nonzeros=100, tolerance=1.5), made(target_nonzeros=100)
    beyond.observe(200, 100 * 1.5 * 2.0, 0.0)
    plain.observe(200, 100 * 2.0, 0.0)
    assert beyond.multiplier == pytest.approx(plain.multiplier) and beyond.multiplier > 1


def test_without_a_target_lambda_is_the_schedule() -> None:
    control = made(floor=0.1)
    assert control.weight(0) == pytest.approx(1e-3 * (0.1 + 0.9 / 30**2))
    for step in range(100):
        control.observe(step, 5000.0, 0.0)
    assert control.weight(299) == 1e-3


@pytest.mark.parametrize(("nonzeros", "empty", "what"), [(1.0, 0.4, "no weight left"), (4000.0, 0.0, "4000 non-zeros")])
def test_alarms(nonzeros: float, empty: float, what: str, caplog: pytest.LogCaptureFixture) -> None:
    def run(action: str) -> Sparsity:
        control = made(alarms=Alarms(empty=0.1, nonzeros=1000, action=action))  # type: ignore[arg-type]
        for step in range(40, 60):
            control.observe(step, nonzeros, empty)
        return control

    with pytest.raises(CheckError, match=what):
        run("stop")
    with caplog.at_level(logging.WARNING):
        assert run("warn").multiplier == 1.0
        assert run("back_off").multiplier == (0.5 if empty else 2.0)  # once: it waits for the change to work
    assert what in caplog.text


def test_a_dense_start_is_no_alarm_while_lambda_rises() -> None:
    control = made(alarms=Alarms(empty=0.1, nonzeros=1000, action="stop"))
    for step in range(29):
        control.observe(step, 9000.0, 0.0)


def test_state_goes_through_a_checkpoint() -> None:
    first, second = (
        made(target_nonzeros=10, df=DfFlops(half=0.1, steepness=10.0)),
        made(df=DfFlops(half=0.1, steepness=10.0), target_nonzeros=10),
    )
    weights = torch.rand(4, 32)
    first.penalty(weights, np.arange(32), [0] * 4)
    for step in range(50):
        first.observe(step, 500.0, 0.0)
    state = first.state_dict()
    json.dumps({k: v for k, v in state.items() if not isinstance(v, torch.Tensor)})
    second.load_state_dict(state)
    assert second.weight(50) == first.weight(50) != made(target_nonzeros=10).weight(50)
    assert torch.equal(
        second.penalty(weights, np.arange(32), [0] * 4)[0], first.penalty(weights, np.arange(32), [0] * 4)[0]
    )


def test_df_flops_uses_the_running_document_frequency() -> None:
    control = made(df=DfFlops(half=0.3, steepness=4.0))
    generator = torch.Generator().manual_seed(0)
    chance = torch.linspace(0, 1, 32)
    for _ in range(60):
        weights = (torch.rand(64, 32, generator=generator) < chance).float()
        found, _ = control.penalty(weights, np.arange(32), [0] * 64)
    wanted = flops(weights, terms=df_activation(control.frequency, half=0.3, steepness=4.0))
    assert float(found) == pytest.approx(float(wanted))
    assert control.frequency.tolist() == pytest.approx(chance.tolist(), abs=0.05)


def test_extras_add_to_what_lambda_multiplies() -> None:
    weights, slots = torch.rand(6, 32), [0, 1, 0, 1, 2, 2]
    idf = torch.cat([torch.from_numpy(IDF), torch.ones(2)])
    found, total = made(idf_penalty=0.5).penalty(weights, np.arange(32), slots)
    assert float(total - found) == pytest.approx(0.5 * float(idf_penalty(weights, idf)), rel=1e-4)
    grouped, _ = made(grouped=True).penalty(weights, np.arange(32), slots)
    assert float(grouped) == pytest.approx(float(flops(weights, slots=torch.tensor(slots))))
    weighted, _ = made(idf_weighted=True).penalty(weights, np.arange(32), slots)
    assert float(weighted) == pytest.approx(float(flops(weights * idf)), rel=1e-5)


def test_drawn_columns_are_distinct_and_scale_to_the_vocabulary() -> None:
    control = made(columns=8)
    columns = control.columns(np.random.default_rng(0))
    assert len(set(columns.tolist())) == 8
    found, _ = control.penalty(torch.ones(3, 8), columns, [0] * 3)
    assert float(found) == 32
