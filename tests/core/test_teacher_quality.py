"""How well a teacher ranks: expected values against simulated orders, and verdicts that follow from the interval."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from osparse.evaluation.candidate_lists import CandidateList, bm25_scores
from osparse.evaluation.rank_measures import ndcg
from osparse.evaluation.teacher_quality import (
    ALL,
    CHANCE,
    TeacherQuality,
    _spread,
    expected_ndcg,
    expected_reciprocal_rank,
    half_width,
    judge_teacher,
)

GENERATOR = np.random.default_rng(0)


def lists_of(count: int, size: int = 12, answers: int = 1, direction: str = "en->en") -> list[CandidateList]:
    relevant = np.arange(size) < answers
    ids = [f"d{i}" for i in range(size)]
    return [
        CandidateList(f"q{n}", f"question {n}", direction, ids, [f"text {i}" for i in ids], relevant)
        for n in range(count)
    ]


def scores_of(lists: Sequence[CandidateList], skill: float, seed: int = 0) -> list[np.ndarray]:
    """Noise, and ``skill`` more for an answer."""
    generator = np.random.default_rng(seed)
    return [generator.normal(size=len(one.document_ids)) + skill * one.relevant for one in lists]


@pytest.mark.parametrize(
    ("scores", "relevant"),
    [
        ([0.0] * 15, [1, 0, 0, 1] + [0] * 11),
        ([3, 3, 2, 2, 2, 1], [0, 1, 0, 1, 1, 0]),
        ([1, 2, 2, 2, 2, 0], [1, 0, 0, 1, 0, 0]),
        ([5, 4, 3], [0, 0, 1]),
        ([0.0] * 25, [1] + [0] * 24),
    ],
)
def test_expected_values_are_the_means_of_orders_of_equal_scores(scores: list[float], relevant: list[int]) -> None:
    values, answers = np.array(scores, float), np.array(relevant, bool)
    grades = {str(i): 1 for i in np.flatnonzero(answers)}
    simulated = []
    for _ in range(4_000):
        order = np.lexsort([GENERATOR.random(len(values)), -values])
        first = 1 + int(np.argmax(answers[order]))
        simulated.append((ndcg([str(i) for i in order], grades, 10), 1 / first))
    expected = np.mean(simulated, axis=0)
    assert expected_ndcg(values, answers) == pytest.approx(expected[0], abs=0.02)
    assert expected_reciprocal_rank(values, answers) == pytest.approx(expected[1], abs=0.02)


def test_chance_with_one_answer_has_a_closed_form() -> None:
    """nDCG@10: the mean discount; MRR: the harmonic number over the size."""
    for size in (2, 10, 31):
        scores, relevant = np.zeros(size), np.arange(size) == 0
        discounts = sum(1 / math.log2(rank + 1) for rank in range(1, min(10, size) + 1))
        assert expected_ndcg(scores, relevant) == pytest.approx(discounts / size)
        assert expected_reciprocal_rank(scores, relevant) == pytest.approx(
            sum(1 / k for k in range(1, size + 1)) / size
        )


def test_the_interval_is_students() -> None:
    values = np.array([0.2, 0.9, 0.4, 0.7])
    low, high = stats.t.interval(0.95, 3, values.mean(), stats.sem(values))
    assert half_width(values) == pytest.approx((high - low) / 2)
    assert half_width(values[:1]) == math.inf


@pytest.mark.parametrize(("size", "answers"), [(12, 1), (8, 3), (30, 2)])
def test_the_spread_of_random_orders_is_that_of_simulated_ones(size: int, answers: int) -> None:
    relevant = np.arange(size) < answers
    simulated = [expected_ndcg(GENERATOR.random(size), relevant) for _ in range(4_000)]
    assert _spread(lists_of(3, size, answers)) == pytest.approx(np.std(simulated), rel=0.05)


def judge(lists: list[CandidateList], skill: float, rival: float | None = 3.0, seed: int = 0) -> TeacherQuality:
    others = {} if rival is None else {"bm25": scores_of(lists, rival, seed + 100)}
    return judge_teacher("t", lists, scores_of(lists, skill, seed), others)


@pytest.mark.parametrize("rival", [3.0, 1.0, 0.0, None])
def test_noise_is_near_chance_and_skill_is_not(rival: float | None) -> None:
    noise = [judge(lists_of(60), 0.0, rival, seed).verdict for seed in range(20)]
    assert noise.count("near chance") >= 19, "an interval of 99 % errs now and then"
    assert {judge(lists_of(60), 3.0, rival, seed).verdict for seed in range(5)} == {"better than chance"}


def test_a_little_skill_is_near_chance_only_where_others_have_much() -> None:
    """As of an untrained encoder, which ranks shared words a little better than chance."""
    assert judge(lists_of(200), 0.4, rival=4.0).verdict == "near chance"
    assert judge(lists_of(200), 0.4, rival=0.0).verdict == "better than chance"
    assert judge(lists_of(200), 0.4, rival=0.3).verdict == "better than chance"


def test_a_handful_of_queries_does_not_condemn() -> None:
    assert judge(lists_of(1), 0.0, None).verdict == "cannot be told"
    for count in range(2, 8):
        assert {judge(lists_of(count), 2.5, seed=seed).verdict for seed in range(10)} <= {
            "cannot be told", "better than chance",
        }  # fmt: skip
        assert {judge(lists_of(count), 0.0, seed=seed).verdict for seed in range(10)} <= {
            "cannot be told", "near chance",
        }  # fmt: skip
    assert judge(lists_of(4, size=30), 20.0).verdict == "better than chance", "a perfect one needs no more"
    assert judge_teacher("t", [], [], {}).verdict == "cannot be told"
    assert "no list" in judge_teacher("t", [], [], {}).finding()


def test_one_score_for_all_has_the_figures_of_chance() -> None:
    lists = lists_of(30)
    quality = judge_teacher("t", lists, [np.zeros(12)] * 30, {})
    figures = quality.figures[ALL]
    assert figures["t"] == figures[CHANCE] and quality.verdict == "near chance"


def test_what_a_teacher_did_not_score_is_left_out_for_all() -> None:
    lists = lists_of(20)
    scores = scores_of(lists, 2.0)
    bm25 = scores_of(lists, 1.0, 9)
    whole = judge_teacher(
        "t", [one.only(np.arange(12) < 6) for one in lists], [s[:6] for s in scores], {"bm25": [s[:6] for s in bm25]}
    )
    partial = [np.where(np.arange(12) < 6, s, np.nan) for s in scores]
    partial[3][:] = np.nan
    del_3 = judge_teacher("t", lists, partial, {"bm25": bm25})
    assert del_3.lists == 19 and whole.lists == 20
    partial[3][:6] = scores[3][:6]
    assert judge_teacher("t", lists, partial, {"bm25": bm25}).figures == whole.figures


def test_the_report_has_directions_distributions_and_five_examples() -> None:
    lists = [*lists_of(30), *lists_of(30, direction="ko->en")]
    quality = judge_teacher("t", lists, scores_of(lists, 2.0), {"bm25": scores_of(lists, 1.0, 1)})
    assert list(quality.figures) == ["en->en", "ko->en", ALL] and quality.queries == 30 and quality.lists == 60
    assert set(quality.figures[ALL]) == {"t", "bm25", CHANCE} and len(quality.examples) == 5
    flat = np.concatenate(scores_of(lists, 2.0))
    answers = np.concatenate([one.relevant for one in lists])
    assert quality.positives[2] == pytest.approx(np.median(flat[answers]))
    assert quality.negatives[2] == pytest.approx(np.median(flat[~answers]))
    text = quality.text()
    assert all(part in text for part in ("ko->en", "chance", "p50", "question 0", "better than chance"))
    assert judge_teacher("t", lists[:1], scores_of(lists[:1], 1.0), {}).to_json()["figures"][ALL]["t"]["margin"] is None


def test_bm25_is_that_of_bm25s() -> None:
    import bm25s

    texts = ["a b c", "a a d", "b d e f", "c"]
    (lists,) = [CandidateList("q", "a d", "en->en", list("wxyz"), texts, np.array([1, 0, 0, 0], bool))]
    index = bm25s.BM25(k1=1.2, b=0.75, method="lucene")
    index.index([text.split() for text in texts], show_progress=False)
    assert bm25_scores([lists], str.split)[0] == pytest.approx(index.get_scores(["a", "d"]) * 2.2, abs=1e-5)
