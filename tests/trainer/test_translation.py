from __future__ import annotations

import numpy as np
import pytest
from plain_ibm_model1 import naive
from scipy import sparse

import osparse.trainer.data.token_translation as module
from osparse.algorithms.ibm_model1 import translation_probabilities
from osparse.trainer.data.token_translation import (
    FLOOR,
    KEPT,
    MIN_MASS,
    SURE,
    Translations,
    aligned,
    estimate,
)
from osparse.trainer.data.training_records import TokenisedText, TrainingRecord, TrainingRecords

SOURCES = [np.array(s, dtype=np.int64) for s in ([1, 2], [1, 3], [2, 3], [1], [])]
TARGETS = [np.array(t, dtype=np.int64) for t in ([11, 12], [11, 13], [12, 13], [11], [14])]


def text(lang: str, *ids: int) -> TokenisedText:
    return TokenisedText(f"{lang}{ids}", lang, np.array(ids, dtype=np.int64))


RECORDS = [
    TrainingRecord(queries=[text("ko", 1), text("en", 11)], documents=[text("ko", 2, 1, 2), text("en", 12, 11)]),
    TrainingRecord(queries=[text("ko", 3)], documents=[text("ko", 3, 1), text("en", 13, 11)]),
    TrainingRecord(queries=[text("en", 14)], documents=[text("en", 14)]),
]


def test_titles_and_descriptions_are_aligned_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [[(s.tolist(), t.tolist()) for s, t in aligned(record, "ko", "en", 5)] for record in RECORDS]
    assert pairs == [[([1], [11]), ([1, 2], [11, 12])], [([1, 3], [11, 13])], []]
    assert [s.tolist() for s, _ in aligned(RECORDS[0], "ko", "en", 1)] == [[1], [2]]
    every = estimate(TrainingRecords(RECORDS, ("en", "ko"), {}), "ko", "en", 20, 5).toarray()
    wanted = naive([[1], [1, 2], [1, 3]], [[11], [11, 12], [11, 13]])
    assert every[1, 11] == pytest.approx(wanted[1, 11]) and every[3, 13] == pytest.approx(wanted[3, 13])
    monkeypatch.setattr(module, "MOST_PAIRS", 5)  # nine pairs: every second record, its titles and its descriptions
    half = estimate(TrainingRecords(RECORDS, ("en", "ko"), {}), "ko", "en", 20, 5).toarray()
    assert not half[3].any() and half[2, 12] > 0
    wanted = naive([[1], [1, 2]], [[11], [11, 12]])
    assert half[1, 11] == pytest.approx(wanted[1, 11])


def test_a_segment_that_asks_for_its_translation_is_aligned_with_it() -> None:
    segment = TrainingRecord(queries=[text("ko", 3, 1)], documents=[text("en", 13, 11)])
    assert [(s.tolist(), t.tolist()) for s, t in aligned(segment, "ko", "en", 5)] == [([1, 3], [11, 13])]
    assert [(s.tolist(), t.tolist()) for s, t in aligned(segment, "en", "ko", 1)] == [([13], [3])]


def test_samples_come_from_the_aligned_text_by_their_probability() -> None:
    table = translation_probabilities(SOURCES, TARGETS, 20)
    found, generator = Translations(table), np.random.default_rng(0)
    within = np.array([11, 12])
    drawn = found.sample(np.array([1] * 4000 + [2] * 4000 + [7]), within, generator)
    assert set(drawn[:-1].tolist()) <= {11, 12} and drawn[-1] == -1
    one = table.toarray()[1, within]
    assert abs((drawn[:4000] == 11).mean() - one[0] / one.sum()) < 0.02 and one.sum() >= MIN_MASS
    assert (found.sample(np.array([1, 2]), np.array([19]), generator) == -1).all()  # nothing of it is there


def test_a_query_is_translated_token_by_token() -> None:
    """Sure tokens by their translations, a share of the others as they are, one alone not at all."""
    dense = np.zeros((20, 20))
    dense[1, 11], dense[2, 12], dense[3, 12] = 0.9, 0.8, 0.9
    found, generator = Translations(sparse.csr_matrix(dense)), np.random.default_rng(0)
    assert found.query(np.array([1, 5]), generator) is None
    assert found.query(np.array([], dtype=np.int64), generator) is None
    drawn = [found.query(np.array([1, 2, 3, 5]), generator) for _ in range(2000)]
    kinds = {tuple(query.tolist()) for query in drawn if query is not None}
    assert kinds == {(11, 12), (11, 12, 5)}  # two tokens with one translation are one
    assert abs(np.mean([query is not None and 5 in query for query in drawn]) - KEPT) < 0.04


def test_a_table_is_estimated_once() -> None:
    records = TrainingRecords(RECORDS, ("en", "ko"), {})
    first = estimate(records, "ko", "en", 20, 5)
    assert estimate(records, "ko", "en", 20, 5) is first and estimate(records, "en", "ko", 20, 5) is not first


def test_without_an_aligned_text_only_sure_tokens_have_a_translation() -> None:
    dense = np.zeros((20, 20))
    dense[1, 11], dense[1, 12] = 0.7, 0.2
    dense[2, 13:19] = FLOOR - 0.001  # nothing likely
    dense[3, 13] = SURE - 0.01
    found = Translations(sparse.csr_matrix(dense)).sample(
        np.array([1] * 4000 + [2, 3, 4]), np.zeros(0, np.int64), np.random.default_rng(0)
    )
    assert found[-3:].tolist() == [-1, -1, -1]
    assert abs((found[:4000] == 11).mean() - 7 / 9) < 0.02 and set(found[:4000].tolist()) == {11, 12}
