from __future__ import annotations

import math

import pytest

from osparse.trainer.compute.learning_rate import learning_rate
from osparse.trainer.losses.regularisation import quadratic_warmup


def test_linear_rises_then_falls_to_nothing() -> None:
    rates = [learning_rate("linear", step, 10, peak=1.0, warmup=0.2) for step in range(10)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[-1] == pytest.approx(1 / 8)
    assert all(a >= b for a, b in zip(rates[1:], rates[2:], strict=False))


def test_cosine_and_constant() -> None:
    assert learning_rate("cosine", 5, 10, peak=2.0, warmup=0.0) == pytest.approx(1.0)
    assert learning_rate("cosine", 2, 10, peak=1.0, warmup=0.0) == pytest.approx(0.5 * (1 + math.cos(0.2 * math.pi)))
    assert learning_rate("constant", 9, 10, peak=0.3, warmup=0.5) == 0.3


def test_quadratic_warmup_is_quadratic_then_constant() -> None:
    values = [quadratic_warmup(step, 30, weight=0.4, warmup=1 / 3) for step in range(30)]
    assert values[4] == pytest.approx(0.4 * 0.25)
    assert values[9] == pytest.approx(0.4)
    assert values[29] == 0.4
    assert quadratic_warmup(0, 30, weight=0.4, warmup=0.0) == 0.4
