"""Every loss against a naive reference in plain Python."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from osparse.trainer.losses import (
    df_activation,
    flops,
    idf_penalty,
    idf_scores,
    info_nce,
    kl_distillation,
    margin_mse,
    negative_pool,
    normalised_teachers,
    ranknet,
)


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


def test_grouped_flops_sums_the_flops_of_each_slot() -> None:
    weights = torch.rand(6, 9, generator=torch.Generator().manual_seed(5))
    slots = torch.tensor([0, 1, 0, 1, 2, 0])
    naive = sum(naive_flops([weights[i].tolist() for i in range(6) if slots[i] == s], None) for s in range(3))
    assert float(flops(weights, slots=slots)) == pytest.approx(naive, rel=1e-6)
    assert float(flops(weights, slots=torch.zeros(6))) == pytest.approx(float(flops(weights)), rel=1e-6)


def test_terms_weigh_the_columns_of_flops() -> None:
    weights = torch.rand(4, 3, generator=torch.Generator().manual_seed(6))
    terms = [0.0, 0.5, 2.0]
    rows = [[w * u for w, u in zip(row, terms, strict=True)] for row in weights.tolist()]
    assert float(flops(weights, terms=torch.tensor(terms))) == pytest.approx(naive_flops(rows, None), rel=1e-6)


def test_df_activation_is_the_papers() -> None:
    share = [0.001, 0.05, 0.1, 0.3, 1.0]
    found = df_activation(torch.tensor(share), half=0.1, steepness=10.0).tolist()
    naive = [1 / (1 + (x ** math.log(2, 0.1) - 1) ** 10) for x in share]
    assert found == pytest.approx(naive, rel=1e-4)
    assert found[2] == pytest.approx(0.5) and found[-1] == 1.0 and found[0] < 1e-6
    assert df_activation(torch.tensor([0.0]), half=0.1, steepness=10.0).tolist() == pytest.approx([0.0], abs=1e-9)


def test_idf_penalty_presses_common_tokens_harder() -> None:
    weights = torch.tensor([[1.0, 0.0, 2.0], [0.5, 1.0, 0.0]])
    idf = torch.tensor([0.5, 2.0, 8.0])
    assert float(idf_penalty(weights, idf)) == pytest.approx(((1 / 0.5 + 2 / 8) + (0.5 / 0.5 + 1 / 2)) / 2)


@pytest.mark.parametrize(
    ("kind", "allowed"),
    [
        ("all", [[1, 1, 1, 1, 1], [1, 1, 1, 1, 1]]),
        ("own", [[1, 1, 1, 0, 0], [1, 1, 0, 1, 1]]),
        ("hard", [[1, 0, 1, 1, 1], [0, 1, 1, 1, 1]]),
    ],
)
def test_negative_pools(kind: str, allowed: list[list[int]]) -> None:
    """Two queries with positives 0 and 1; hard negatives 2 of the first, 3 and 4 of the second."""
    own = torch.tensor([[0, 0, 1, 0, 0], [0, 0, 0, 1, 1]], dtype=torch.bool)
    positive = torch.tensor([1, 1, 0, 0, 0], dtype=torch.bool)
    assert negative_pool(kind, torch.tensor([0, 1]), positive, own).int().tolist() == allowed


def test_an_unknown_negative_pool_is_refused() -> None:
    with pytest.raises(ValueError, match="must be all, own or hard"):
        negative_pool("some", torch.tensor([0]), torch.tensor([True]), torch.tensor([[False]]))


CANDIDATES = torch.tensor(
    [[1, 1, 1, 0, 1, 1, 0], [1, 0, 1, 1, 1, 0, 1], [1, 1, 1, 1, 1, 1, 1], [0, 0, 1, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0]],
    dtype=torch.bool,
)
"""Of five queries; the fourth has one candidate."""
TARGET = torch.tensor([0, 2, 6, 2, 1])
WEIGHT = [1.0, 0.5, 2.0, 1.0, 0.25]


@pytest.fixture
def teacher() -> Tensor:
    return torch.randn(5, 7, generator=torch.Generator().manual_seed(9)) * 4


def kept_of(row: int) -> list[int]:
    return [i for i in range(7) if CANDIDATES[row, i]]


def softmax(values: list[float]) -> list[float]:
    total = sum(math.exp(v) for v in values)
    return [math.exp(v) / total for v in values]


def weighted(values: dict[int, float]) -> float:
    return sum(WEIGHT[row] * value for row, value in values.items()) / sum(WEIGHT[row] for row in values)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_kl_distillation(scores: Tensor, teacher: Tensor, temperature: float) -> None:
    naive = {}
    for row in (0, 1, 2, 4):
        student = softmax([float(scores[row, i]) / temperature for i in kept_of(row)])
        wanted = softmax([float(teacher[row, i]) / temperature for i in kept_of(row)])
        naive[row] = temperature**2 * sum(p * math.log(p / q) for p, q in zip(wanted, student, strict=True))
    found = kl_distillation(scores, teacher, CANDIDATES, temperature=temperature, weight=torch.tensor(WEIGHT))
    assert float(found) == pytest.approx(weighted(naive), rel=1e-5)
    assert float(kl_distillation(teacher, teacher, CANDIDATES, temperature=temperature)) == pytest.approx(0, abs=1e-6)


def test_margin_mse(scores: Tensor, teacher: Tensor) -> None:
    naive = {}
    for row in (0, 1, 2, 4):
        best = int(TARGET[row])
        off = [
            (float(scores[row, best] - scores[row, i]) - float(teacher[row, best] - teacher[row, i])) ** 2
            for i in kept_of(row)
            if i != best
        ]
        naive[row] = sum(off) / len(off)
    found = margin_mse(scores, teacher, CANDIDATES, TARGET, weight=torch.tensor(WEIGHT))
    assert float(found) == pytest.approx(weighted(naive), rel=1e-5)


def test_margin_mse_leaves_a_query_out_whose_target_no_teacher_scored(scores: Tensor, teacher: Tensor) -> None:
    unknown = CANDIDATES.clone()
    unknown[:, :] = False
    unknown[0, 1:3] = True  # without the target 0
    assert float(margin_mse(scores, teacher, unknown, TARGET)) == 0


def test_ranknet(scores: Tensor, teacher: Tensor) -> None:
    naive = {}
    for row in (0, 1, 2, 4):
        pairs = [(i, j) for i in kept_of(row) for j in kept_of(row) if teacher[row, i] > teacher[row, j]]
        naive[row] = sum(math.log1p(math.exp(-float(scores[row, i] - scores[row, j]))) for i, j in pairs) / len(pairs)
    found = ranknet(scores, teacher, CANDIDATES, weight=torch.tensor(WEIGHT))
    assert float(found) == pytest.approx(weighted(naive), rel=1e-5)


def test_normalised_teachers() -> None:
    first, second = torch.tensor([[1.0, 3.0, 2.0, 99.0]]), torch.tensor([[10.0, 0.0, 20.0, -99.0]])
    kept = torch.tensor([[True, True, True, False]])
    found = normalised_teachers(torch.stack([first, second]), kept, scale=30.0)
    assert found[0].tolist() == pytest.approx([30 * (0 + 0.5) / 2, 30 * (1 + 0) / 2, 30 * (0.5 + 1) / 2, 0], rel=1e-4)


def test_one_candidate_is_no_division_by_zero(scores: Tensor, teacher: Tensor) -> None:
    one = torch.zeros(5, 7, dtype=torch.bool)
    one[:, 3] = True
    assert normalised_teachers(teacher[None], one, scale=30.0).tolist() == [[0.0] * 7] * 5
    for value in (
        kl_distillation(scores, teacher, one, temperature=1.0),
        margin_mse(scores, teacher, one, torch.full((5,), 3)),
        ranknet(scores, teacher, one),
    ):
        assert float(value) == 0


@pytest.mark.parametrize("loss", ["kl", "margin", "ranknet"])
def test_gradients_are_finite_and_stay_within_the_candidates(scores: Tensor, teacher: Tensor, loss: str) -> None:
    scores = (scores * 50).requires_grad_()  # far apart, as IDF-weighted dot products are
    teacher = teacher.masked_fill(~CANDIDATES, float("nan"))
    value = {
        "kl": lambda: kl_distillation(scores, teacher, CANDIDATES, temperature=1.0),
        "margin": lambda: margin_mse(scores, teacher, CANDIDATES, TARGET),
        "ranknet": lambda: ranknet(scores, teacher, CANDIDATES),
    }[loss]()
    value.backward()  # type: ignore[no-untyped-call]
    assert scores.grad is not None and scores.grad.isfinite().all() and (scores.grad != 0).any()
    assert not scores.grad[~CANDIDATES].any() and not scores.grad[3].any()
