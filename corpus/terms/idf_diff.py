"""``osparse idf diff``: what changed between two versions of a table of query weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from osparse.formula.lexicon import read_idf
from osparse.plugins.extras import require


@dataclass(frozen=True)
class IdfDiff:
    """``b`` against ``a``."""

    tokens: int
    """In both."""
    changed: int
    """Of them, those whose weight moved by more than 1 %."""
    rank_correlation: float
    """Spearman's, of the weights of the tokens in both; 1.0 where one table is constant on them."""
    mean_ratio: float
    """Geometric mean of b / a over the tokens in both."""
    gained: list[tuple[str, float, float]]
    """(token, weight in a, weight in b), the largest ratio first."""
    lost: list[tuple[str, float, float]]
    only_in_a: list[str]
    only_in_b: list[str]


def diff_idf(a: Path | str, b: Path | str, *, top: int = 20) -> IdfDiff:
    """Compare two idf.json, ``top`` tokens each way.

    Raises :class:`ModelError` if one is no table of weights.
    """
    first, second = read_idf(Path(a)), read_idf(Path(b))
    both = [token for token in first if token in second]
    before = np.array([first[token] for token in both])
    after = np.array([second[token] for token in both])
    ratio = np.log(after / before)
    order = np.argsort(-ratio, kind="stable")

    def rows(places: NDArray[np.int64]) -> list[tuple[str, float, float]]:
        return [(both[i], first[both[i]], second[both[i]]) for i in places if abs(ratio[i]) > 1e-9]

    return IdfDiff(
        tokens=len(both),
        changed=int((np.abs(ratio) > np.log(1.01)).sum()),
        rank_correlation=_spearman(before, after),
        mean_ratio=float(np.exp(ratio.mean())) if both else 1.0,
        gained=[row for row in rows(order[:top]) if row[2] > row[1]],
        lost=[row for row in rows(order[::-1][:top]) if row[2] < row[1]],
        only_in_a=sorted(first.keys() - second.keys()),
        only_in_b=sorted(second.keys() - first.keys()),
    )


def _spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return 1.0
    return float(require("scipy.stats", "corpus").spearmanr(a, b).statistic)
