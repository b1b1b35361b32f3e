"""The opponents of benchmarks/quality.py against closed forms."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from lexical import Bm25Index, bigrams, ibm_model_1, words  # type: ignore[import-not-found]


def test_tokens() -> None:
    assert words("GTK용 편집기, v2.0") == ["gtk", "용", "편집기", "v2", "0"]
    assert bigrams("gtk용 편집기") == ["gtk", "용", "편집", "집기"]


def test_bm25_is_the_formula() -> None:
    index = Bm25Index.of(["a a b", "b c", "d"], str.split)
    (found,) = index.scores([{"a": 1.0, "b": 2.0, "unknown": 1.0}])
    mean = 2.0

    def weight(tf: int, df: int, length: int) -> float:
        return math.log1p((3 - df + 0.5) / (df + 0.5)) * tf * 2.2 / (tf + 1.2 * (0.25 + 0.75 * length / mean))

    assert found == pytest.approx([weight(2, 1, 3) + 2 * weight(1, 2, 3), 2 * weight(1, 2, 2), 0.0])


def test_ibm_model_1_finds_the_only_consistent_translation() -> None:
    pairs = [({"집"}, {"house"}), ({"집", "큰"}, {"house", "big"}), ({"큰", "책"}, {"big", "book"})]
    table = ibm_model_1(pairs)
    assert {token: found[0][0] for token, found in table.items()} == {"집": "house", "큰": "big", "책": "book"}
    assert all(sum(p for _, p in found) == pytest.approx(1.0) for found in table.values())
