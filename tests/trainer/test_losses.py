"""Every loss against a naive reference in plain Python."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from osparse.trainer.losses import flops, idf_scores, info_nce


def naive_info_nce(
    scores: list[list[float]], target: list[int], temperature: float, allowed: list[list[bool]], weight: list[float]
) -> float:
    total = 0.0
    for row, positive, kept, w in zip(scores, target, allowed, weight, strict=True):
        terms = [math.exp(s / temperature) for s, k in zip(row, kept, strict=True) if k]
        total += -w * math.log(math.exp(row[positive] / temperature) / sum(terms))
    return total / sum(weight)


@pytest.fixture
def scores() -> Tensor:
    return torch.randn(5, 7, generator=torch.Generator().manual_seed(0)) * 3


def test_info_nce(scores: Tensor) -> None:
    target = [0, 3, 6, 2, 2]
    allowed = torch.rand(5, 7, generator=torch.Generator().manual_seed(1)) > 0.4
    allowed[range(5), target] = True
    weight = [1.0, 0.5, 2.0, 1.0, 0.25]
    found = info_nce(scores, torch.tensor(target), temperature=2.0, candidates=allowed, weight=torch.tensor(weight))
    assert float(found) == pytest.approx(
        naive_info_nce(scores.tolist(), target, 2.0, allowed.tolist(), weight), rel=1e-6
    )
    plain = info_nce(scores, torch.tensor(target), temperature=1.0)
    assert float(plain) == pytest.approx(
        naive_info_nce(scores.tolist(), target, 1.0, [[True] * 7] * 5, [1.0] * 5), rel=1e-6
    )


def test_info_nce_of_one_query_and_of_huge_scores() -> None:
    assert float(info_nce(torch.tensor([[3.0]]), torch.tensor([0]), temperature=1.0)) == 0
    assert float(info_nce(torch.tensor([[9000.0, 9001.0]]), torch.tensor([0]), temperature=1.0)) == pytest.approx(
        math.log(1 + math.e)
    )


def test_a_masked_false_negative_has_no_gradient(scores: Tensor) -> None:
    scores.requires_grad_()
    allowed = torch.ones(5, 7, dtype=torch.bool)
    allowed[1, 4] = False
    info_nce(scores, torch.tensor([0, 1, 2, 3, 4]), temperature=1.0, candidates=allowed).backward()  # type: ignore[no-untyped-call]
    assert scores.grad is not None and scores.grad[1, 4] == 0 and (scores.grad != 0).sum() == 34


def test_half_precision_scores_are_lifted_to_fp32() -> None:
    q, d = torch.full((1, 64), 4.0, dtype=torch.bfloat16), torch.full((2, 64), 1.01, dtype=torch.bfloat16)
    assert idf_scores(q, d).dtype == torch.float32
    assert info_nce(q, torch.tensor([0]), temperature=1.0).dtype == torch.float32


def test_idf_scores_equal_the_sum() -> None:
    queries = torch.tensor([[2.0, 0.0, 1.5], [0.0, 1.0, 0.0]])
    weights = torch.tensor([[0.5, 1.0, 2.0], [0.0, 3.0, 0.0]])
    assert idf_scores(queries, weights).tolist() == [[4.0, 0.0], [1.0, 3.0]]


def naive_flops(rows: list[list[float]], threshold: int | None) -> float:
    total = 0.0
    for j in range(len(rows[0])):
        kept = [abs(r[j]) if threshold is None or sum(w != 0 for w in r) > threshold else 0.0 for r in rows]
        total += (sum(kept) / len(rows)) ** 2
    return total


@pytest.mark.parametrize("threshold", [None, 0, 3, 100])
def test_flops(threshold: int | None) -> None:
    weights = torch.rand(6, 9, generator=torch.Generator().manual_seed(2))
    weights = weights * (weights > 0.6)
    assert float(flops(weights, threshold=threshold)) == pytest.approx(
        naive_flops(weights.tolist(), threshold), rel=1e-6
    )


def test_flops_is_not_l1_and_depends_on_who_shares_a_token() -> None:
    together, apart = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert float(flops(together)) == 1.0
    assert float(flops(apart)) == 0.5  # equal L1


def test_flops_of_drawn_columns_is_unbiased() -> None:
    weights = torch.rand(4, 50, generator=torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(4)
    drawn = [flops(weights[:, torch.randperm(50, generator=generator)[:10]], scale=5.0) for _ in range(4000)]
    assert float(torch.stack(drawn).mean()) == pytest.approx(float(flops(weights)), rel=0.01)
