"""The formula against closed forms and against what Lucene's source says."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

import numpy as np
import pytest
import world

from osparse.formula.activation import document_weights, sparse_dict
from osparse.formula.head import Head
from osparse.formula.lexicon import load_tokenizer
from osparse.formula.lucene_rounding import quantise, score
from osparse.formula.pruning import prune
from osparse.formula.query_encoder import QueryEncoder
from osparse.formula.seismic_ceiling import up_to_tenth


def test_a_weight_is_the_log_of_the_largest_logit() -> None:
    logits = np.array([[1.0, -2.0, 3.0, 0.5], [2.0, -1.0, 1.0, 9.0], [50.0, 50.0, 50.0, 50.0]], np.float32)
    mask = np.array([True, True, False])
    once = document_weights(logits, mask, Head(masked_ids=(3,)))
    assert once == pytest.approx([math.log(3), 0, math.log(4), 0])
    twice = document_weights(logits, mask, Head("log1p_log1p_relu", masked_ids=(3,)))
    assert twice == pytest.approx([math.log1p(math.log(3)), 0, math.log1p(math.log(4)), 0])
    assert once.dtype == twice.dtype == np.float32


def test_padding_alone_weighs_nothing() -> None:
    assert not document_weights(np.ones((3, 4), np.float32), np.zeros(3, bool), Head()).any()


@pytest.mark.parametrize(
    ("head", "kept"),
    [
        (Head(), [0.1, 0.5, 1.0, 0.2]),
        (Head(prune_ratio=0.2), [0, 0.5, 1.0, 0]),
        (Head(top_k=1), [0, 0, 1.0, 0]),
        (Head(top_k=3), [0, 0.5, 1.0, 0.2]),
        (Head(top_k=9), [0.1, 0.5, 1.0, 0.2]),
        (Head(prune_ratio=0.15, top_k=2), [0, 0.5, 1.0, 0]),
    ],
)
def test_pruning(head: Head, kept: list[float]) -> None:
    assert prune(np.array([0.1, 0.5, 1.0, 0.2], np.float32), head) == pytest.approx(kept)


@pytest.mark.parametrize(
    ("head", "kept"),
    [
        (Head(top_k=1, keep_own=True), [0.1, 0.5, 0, 0.2, 0]),  # 0.1 and 0.2 are the document's own
        (Head(top_k=2, keep_own=True), [0.1, 0.5, 0.4, 0.2, 0]),
        (Head(top_k=4, keep_own=True), [0.1, 0.5, 0.4, 0.2, 0.3]),
        (Head(prune_ratio=0.7, keep_own=True), [0.1, 0.5, 0.4, 0.2, 0]),
        (Head(top_k=2), [0, 0.5, 0.4, 0, 0]),
    ],
)
def test_own_tokens_are_neither_dropped_nor_counted(head: Head, kept: list[float]) -> None:
    own = np.array([True, False, False, True, False])
    assert prune(np.array([0.1, 0.5, 0.4, 0.2, 0.3], np.float32), head, own) == pytest.approx(kept)


def test_own_tokens_get_a_share_of_the_network() -> None:
    logits, own = np.array([[np.e - 1, np.e - 1, 0.0]], np.float32), np.array([True, False, True])
    weights = document_weights(logits, np.ones(1, bool), Head(own_share=0.25), np.array([0.5, 0, 0.5]), own)
    assert weights == pytest.approx([0.75, 1, 0.5])


def test_an_earlier_version_reads_heads_without_later_settings() -> None:
    assert set(Head(top_k=3).settings()) == {"activation", "max_length", "masked_ids", "prune_ratio", "top_k"}
    later = Head(keep_own=True, own_share=0.5, network_length=8)
    assert Head(**later.settings()) == later and later.settings()["network_length"] == 8


def test_pruning_an_empty_document_keeps_it_empty() -> None:
    assert not prune(np.zeros(4, np.float32), Head(prune_ratio=0.5, top_k=2)).any()


def test_quantise_is_what_feature_field_keeps() -> None:
    """freq = floatToIntBits(value) >> 15, value = intBitsToFloat(freq << 15) (Lucene, FeatureField)."""
    weights = np.random.default_rng(0).gamma(2.0, 1.0, 1000).astype(np.float32)
    bits = [struct.unpack(">I", struct.pack(">f", w))[0] for w in weights]
    decoded = [struct.unpack(">f", struct.pack(">I", (b >> 15) << 15))[0] for b in bits]
    stored = quantise(weights)
    assert stored.tolist() == decoded
    assert ((weights - stored >= 0) & ((weights - stored) / weights < 2**-8)).all()
    assert (quantise(stored) == stored).all()


def test_score_is_the_dot_product_with_stored_weights() -> None:
    document = {"a": 1.2345, "b": 0.777, "c": 3.0}
    stored = quantise(np.array([1.2345, 0.777], np.float32)).astype(float)
    assert score({"a": 2.0, "b": 0.1, "x": 9.0}, document) == pytest.approx(2 * stored[0] + 0.1 * stored[1], rel=1e-12)
    assert score({"x": 1.0}, document) == 0.0


def test_sparse_dict_is_ordered_by_weight_then_token() -> None:
    found = sparse_dict(np.array([0, 1, 2, 1], np.float32), ("z", "b", "c", "a"))
    assert list(found.items()) == [("c", 2.0), ("a", 1.0), ("b", 1.0)]


def test_a_query_counts_each_token_once_with_its_idf(tmp_path: Path) -> None:
    path = world.make_tokenizer(tmp_path / "tokenizer.json")
    lexicon = world.make_lexicon(path)
    encoder = QueryEncoder(load_tokenizer(path), lexicon)
    once, thrice = encoder.encode("비와 구름"), encoder.encode("비와 구름 비와 구름 비와")
    assert once == thrice and once
    for token, weight in once.items():
        assert weight == pytest.approx(0.5 + (lexicon.id_of[token] % 97) / 10)
        assert token not in world.SPECIAL
    assert encoder.encode("") == {}
    assert encoder.encode("\u1107\u1175\u110b\u116a \u1100\u116e\u1105\u1173\u11b7") == once  # NFD


def test_a_query_is_cut_where_it_must_be(tmp_path: Path) -> None:
    path = world.make_tokenizer(tmp_path / "tokenizer.json")
    lexicon = world.make_lexicon(path)
    words = [token for token in lexicon.tokens if token.isalpha()][:30]
    encoder = QueryEncoder(load_tokenizer(path), lexicon, max_length=10)
    assert list(encoder.encode(" ".join(words))) == words[:8]  # [CLS] and [SEP] count
    idf = tmp_path / "idf.json"
    idf.write_text(json.dumps({token: 2.0 for token in lexicon.tokens}), encoding="utf-8")
    assert encoder.reweighted(idf).encode(" ".join(words)) == dict.fromkeys(words[:8], 2.0)
    assert list(encoder.encode(" ".join(words))) == words[:8]


def test_a_ceiling_is_the_next_tenth_and_a_tenth_in_32_bits_is_itself() -> None:
    for tenth in range(1, 200):
        assert up_to_tenth(float(np.float32(tenth / 10))) == tenth / 10
        assert up_to_tenth(tenth / 10 + 0.01) == (tenth + 1) / 10
    assert up_to_tenth(0.0) == 0.1
