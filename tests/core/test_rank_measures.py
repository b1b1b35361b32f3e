"""nDCG@10, hit@1 and R@100 against trec_eval's own code, which ir-measures calls, query by query."""

from __future__ import annotations

import math
import random

import pytest
from ir_measures import R, Success, iter_calc, nDCG

from osparse.evaluation.measures import HIT, NDCG, RECALL, measure
from osparse.evaluation.rank_measures import ndcg, recall, success

NAMES = {nDCG @ 10: NDCG, Success @ 1: HIT, R @ 100: RECALL}
Qrels = dict[str, dict[str, int]]
Run = dict[str, list[str]]


def by_trec_eval(qrels: Qrels, run: Run) -> dict[str, dict[str, float]]:
    scored = {query: {d: float(-rank) for rank, d in enumerate(found)} for query, found in run.items() if found}
    values = {name: dict.fromkeys(qrels, 0.0) for name in NAMES.values()}
    for value in iter_calc(list(NAMES), qrels, scored):
        values[NAMES[value.measure]][value.query_id] = value.value
    return values


def random_judgements(seed: int) -> tuple[Qrels, Run]:
    """Grades from -1 to 3, few or many relevant documents, rankings of all lengths, queries without a ranking."""
    generator = random.Random(seed)
    documents = [f"d{i}" for i in range(300)]
    qrels: Qrels = {}
    run: Run = {}
    for number in range(40):
        query = f"q{number}"
        judged = generator.sample(documents, generator.choice([1, 2, 5, 15, 150]))
        qrels[query] = {document: generator.choice([-1, 0, 1, 1, 2, 3]) for document in judged}
        if number % 7:
            draws = {document: generator.random() + (document in judged) * 0.3 for document in documents}
            depth = generator.choice([0, 1, 3, 10, 11, 99, 100, 101, 250])
            run[query] = sorted(documents, key=draws.__getitem__, reverse=True)[:depth]
    run["not judged"] = documents[:5]
    return qrels, run


@pytest.mark.parametrize("seed", range(12))
def test_every_query_has_trec_evals_value(seed: int) -> None:
    qrels, run = random_judgements(seed)
    made, expected = measure(qrels, run).per_query, by_trec_eval(qrels, run)
    for name in NAMES.values():
        assert list(made[name]) == list(qrels)
        assert made[name] == pytest.approx(expected[name], abs=1e-12), name
    assert 0 < sum(made[NDCG].values()) < len(qrels)
    assert sum(made[HIT].values()) > 0 and sum(made[RECALL].values()) > 0


def test_closed_forms() -> None:
    grades = {"a": 3, "b": 1, "c": 0, "d": -2}
    best = 3 + 1 / math.log2(3)
    assert ndcg(["a", "b"], grades, 10) == pytest.approx(1.0)
    assert ndcg(["c", "a"], grades, 10) == pytest.approx((3 / math.log2(3)) / best)
    assert ndcg(["c", "a", "b"], grades, 2) == pytest.approx((3 / math.log2(3)) / best)
    assert ndcg(["d"], grades, 10) == 0.0 and success(["d"], grades, 1) == 0.0
    assert success(["c", "b"], grades, 1) == 0.0 and success(["c", "b"], grades, 2) == 1.0
    assert recall(["b", "c"], grades, 100) == 0.5 and recall(["c", "a", "b"], grades, 1) == 0.0


def test_nothing_relevant_or_nothing_found_is_zero() -> None:
    for value in (ndcg, success, recall):
        assert value(["a"], {"a": 0, "b": -1}, 10) == 0.0
        assert value([], {"a": 1}, 10) == 0.0
        assert value(["a"], {}, 10) == 0.0


def test_a_repeated_document_counts_once_at_its_first_rank() -> None:
    grades = {"a": 1, "b": 1}
    for value, depth in ((ndcg, 10), (success, 1), (recall, 100)):
        assert value(["a", "a", "x", "b", "a"], grades, depth) == value(["a", "x", "b"], grades, depth)


def test_equal_scores_need_no_rule_since_the_order_is_the_ranking() -> None:
    """trec_eval orders equal scores by document id; what osparse measures has no equal ranks."""
    qrels = {"q": {"b": 1}}
    assert measure(qrels, {"q": ["b", "a"]}).mean(HIT) == 1.0
    assert measure(qrels, {"q": ["a", "b"]}).mean(HIT) == 0.0
