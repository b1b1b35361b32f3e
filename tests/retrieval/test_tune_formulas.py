"""Pruning, query weights, feedback and fusion: against another implementation, a closed form or published numbers."""

from __future__ import annotations

import numpy as np
import pytest

from osparse.errors import ClusterError, InputError
from osparse.formula.feedback import joining
from osparse.formula.head import Head
from osparse.formula.pruning import prune
from osparse.packager.checks import lucene_emulator
from osparse.retrieval.serving.fusion import fused, normalised
from osparse.retrieval.serving.query_weights import reshaped_tokens
from osparse.retrieval.serving.settings import (
    Feedback,
    Hybrid,
    PruneKind,
    Pruning,
    QueryWeights,
    Setting,
    TwoPhase,
    recorded_setting,
)
from osparse.retrieval.tuning.applying.changed_bundle import _head
from osparse.retrieval.tuning.offline.pruning import kept

GENERATOR = np.random.default_rng(7)
ROWS = [GENERATOR.gamma(1.0, 1.0, size).astype(np.float32) for size in (1, 2, 5, 40, 200)]
FLAT = np.repeat(np.arange(len(ROWS)), [len(row) for row in ROWS])


@pytest.mark.parametrize(
    ("kind", "value"),
    [("max_ratio", 0.1), ("max_ratio", 0.5), ("top_k", 1), ("top_k", 3), ("top_k", 500), ("alpha_mass", 0.5),
     ("alpha_mass", 0.9), ("alpha_mass", 0.999)],
)  # fmt: skip
def test_pruning_is_that_of_the_ingest_processor(kind: PruneKind, value: float) -> None:
    mask = kept(FLAT, np.concatenate(ROWS), Pruning(kind, value))
    for number, row in enumerate(ROWS):
        weights = {str(i): float(w) for i, w in enumerate(row)}
        expected = {int(token) for token in lucene_emulator.prune(weights, kind, value)}
        assert set(np.flatnonzero(mask[number == FLAT])) == expected


@pytest.mark.parametrize("head", [Head(prune_ratio=0.2), Head(top_k=7)])
def test_pruning_is_that_of_the_packaged_graph(head: Head) -> None:
    choice = Pruning("top_k", head.top_k) if head.top_k is not None else Pruning("max_ratio", head.prune_ratio)
    values = np.round(np.concatenate(ROWS), 1) + np.float32(0.1)  # ties
    mask = kept(FLAT, values, choice)
    for number in range(len(ROWS)):
        row = values[number == FLAT]
        assert np.array_equal(mask[number == FLAT], prune(row, head) > 0)


def test_what_cuts_own_tokens_too_replaces_the_bound_of_the_others() -> None:
    head = Head(top_k=9, keep_own=True, own_share=0.5)
    assert _head(head, Pruning("top_k", 64)) == Head(top_k=64, own_share=0.5)
    assert _head(head, Pruning("max_ratio", 0.1)) == Head(prune_ratio=0.1, own_share=0.5)
    assert _head(Head(top_k=9), Pruning("top_k", 64)) == Head(top_k=9)


def test_a_document_without_weights_stays_without() -> None:
    assert not len(kept(np.zeros(0, np.int64), np.zeros(0, np.float32), Pruning("top_k", 3)))


def test_query_weights_keep_their_largest_and_lose_the_light() -> None:
    weights = {"a": 8.0, "b": 4.0, "c": 1.0, "d": 4.0}
    assert reshaped_tokens(weights, QueryWeights()) == weights
    assert reshaped_tokens(weights, QueryWeights(power=2)) == {"a": 8.0, "b": 2.0, "c": 0.125, "d": 2.0}
    assert reshaped_tokens(weights, QueryWeights(drop_ratio=0.5)) == {"a": 8.0, "b": 4.0, "d": 4.0}
    assert list(reshaped_tokens(weights, QueryWeights(top=2))) == ["a", "b"]
    assert reshaped_tokens({}, QueryWeights(top=2, power=2)) == {}


def test_feedback_has_the_share_of_the_query_that_is_asked_for() -> None:
    first, second = np.array([0.0, 2.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0, 4.0])
    more = joining(10.0, [first, second], [3.0, 1.0], Feedback(2, 4, 0.5))
    expected = np.array([0.0, 1.5, 1.0, 1.0])  # 3/4 of the first and 1/4 of the second
    assert more == pytest.approx(expected * 5 / expected.sum())
    assert joining(10.0, [first, second], [3.0, 1.0], Feedback(2, 1, 0.5)) == pytest.approx([0, 5, 0, 0])
    assert joining(10.0, [first, second], [3.0, 1.0], Feedback(1, 4, 0.3)) == pytest.approx([0, 2, 1, 0])


def test_normalised_scores() -> None:
    scores = np.array([4.0, 3.0, 2.0])
    assert normalised(scores, "min_max") == pytest.approx([1, 0.5, 0.001])
    assert normalised(scores, "l2") == pytest.approx(scores / np.sqrt(29))
    assert normalised(scores, "z_score") == pytest.approx([1, 0.001, 0.001])
    assert normalised(np.array([2.0]), "min_max") == pytest.approx([1])
    assert normalised(np.array([2.0]), "z_score") == pytest.approx([2])


def test_fusion_by_hand() -> None:
    bm25, sparse = {"a": 3.0, "b": 1.0}, {"b": 9.0, "c": 5.0, "a": 1.0}
    arithmetic = fused(bm25, sparse, Hybrid("min_max"), 0.75)
    assert arithmetic == pytest.approx({"b": 0.25 * 0.001 + 0.75, "c": 0.375, "a": 0.25 + 0.75 * 0.001})
    assert list(arithmetic) == ["b", "c", "a"]
    geometric = fused(bm25, sparse, Hybrid("min_max", "geometric_mean"), 0.5)
    assert geometric == pytest.approx({"a": 0.001**0.5, "b": 0.001**0.5, "c": 0.5})  # c is in one list only
    harmonic = fused(bm25, sparse, Hybrid("min_max", "harmonic_mean"), 0.5)
    assert harmonic["a"] == pytest.approx(1 / (0.5 / 1 + 0.5 / 0.001)) and harmonic["c"] == pytest.approx(0.5)
    ranks = fused(bm25, sparse, Hybrid("rrf", rank_constant=60), 0.5)
    assert ranks == pytest.approx({"a": 0.5 / 61 + 0.5 / 63, "b": 0.5 / 62 + 0.5 / 61, "c": 0.5 / 62})
    assert list(fused(bm25, {}, Hybrid(), 0.5)) == ["a", "b"]


def test_a_setting_survives_its_record() -> None:
    for setting in (
        Setting(),
        Setting(QueryWeights(0.5, 0.1, 7), feedback=Feedback(rerank=100), pruning=Pruning("alpha_mass", 0.9)),
        Setting(hybrid=Hybrid("rrf", by_direction={"ko->en": 0.1}), pruning=Pruning("top_k", 64)),
    ):
        assert Setting.from_json(setting.to_json(), "here") == setting
        meta = {"osparse_tuning": {"schema": 1, "setting": setting.to_json()}}
        assert recorded_setting(meta, "i") == setting
    assert recorded_setting({}, "i") == Setting()


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ({"query": {"power": 0}}, "query.power: 0"),
        ({"two_phase": {"prune_ratio": 1.5}}, "two_phase.prune_ratio: 1.5 is not within"),
        ({"feedback": {"documents": 0}}, "feedback.documents: 0 is not within"),
        ({"hybrid": {"by_direction": {"ko->en": 2.0}}}, "by_direction ko->en: 2.0 is not within"),
        ({"hybrid": {"normalisation": "max"}}, "must be one of 'min_max'"),
        ({"pruning": {"kind": "top_k", "value": 2.5}}, "top_k must be a whole number of at least 1, got 2.5"),
        ({"pruning": {"kind": "max_ratio", "value": 1.0}}, r"max_ratio must be in \(0, 1\), got 1"),
        ({"two_phase": {}, "feedback": {}}, "two_phase has no effect beside feedback"),
        ({"typo": 1}, "typo: unknown"),
        ("text", "must be a mapping"),
    ],
)
def test_what_is_no_setting_is_refused_by_name(raw: object, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        Setting.from_json(raw, "here")
    with pytest.raises(ClusterError, match="run osparse tune again"):
        recorded_setting({"osparse_tuning": {"schema": 1, "setting": raw}}, "i")


def test_a_window_beyond_the_limit_is_refused() -> None:
    from osparse.retrieval.serving.forms import window_of

    assert window_of(TwoPhase(0.4, 2.5), 10) == 25
    with pytest.raises(InputError, match="need a window of 500, and max_window_size is 100"):
        window_of(TwoPhase(0.4, 5.0, 100), 100)


def test_feedback_by_name() -> None:
    assert Feedback.parse("") == Feedback()
    assert Feedback.parse("documents=2, share=1,rerank=100") == Feedback(2, 16, 1.0, 100)


@pytest.mark.parametrize(
    "text", ["documents=0", "share=-1", "depth=3", "documents=two", "tokens=1.5", "documents=2,documents=3"]
)
def test_feedback_that_is_none(text: str) -> None:
    with pytest.raises(InputError, match="`feedback` must be like documents=3"):
        Feedback.parse(text)


def test_feedback_beside_two_phases_is_refused() -> None:
    with pytest.raises(InputError, match="`feedback` cannot join the recorded search setting"):
        Setting(two_phase=TwoPhase()).with_feedback(Feedback())
