"""Groups of words with like vectors; every method of scikit-learn's or mutual nearest neighbours.

Vectors have length 1, so cosine and Euclidean distance order pairs alike: |a - b|^2 = 2 - 2 cos.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from osparse.algorithms.components import smallest_members
from osparse.plugins.extras import require

Floats = NDArray[np.float32]
SEED = 0
BLOCK = 1024
"""Rows compared with all others at a time."""


def mutual_neighbours(vectors: Floats, similarity: float, k: int = 5) -> list[tuple[int, int, float]]:
    """Pairs (i < j, cosine) at least ``similarity`` alike, each among the k nearest of the other."""
    near = np.full((len(vectors), min(k, len(vectors) - 1)), -1, dtype=np.int64)
    cosine = np.zeros(near.shape, dtype=np.float32)
    for start in range(0, len(vectors), BLOCK):
        scores = vectors[start : start + BLOCK] @ vectors.T
        scores[np.arange(len(scores)), np.arange(start, start + len(scores))] = -2.0
        order = np.argsort(-scores, axis=1, kind="stable")[:, : near.shape[1]]
        near[start : start + len(scores)] = order
        cosine[start : start + len(scores)] = np.take_along_axis(scores, order, 1)
    sets = [set(row.tolist()) for row in near]
    return [
        (i, int(j), float(c))
        for i in range(len(vectors))
        for j, c in zip(near[i], cosine[i], strict=True)
        if i < j and c >= similarity and i in sets[int(j)]
    ]


def cluster(method: str, vectors: Floats, similarity: float) -> list[list[int]]:
    """Groups of two words or more, each at most once.

    Args:
        method: ``kmeans`` (as many groups as a fourth of the words), ``dbscan``, ``hdbscan``, ``hierarchical`` (average
            linkage) or ``mutual`` (connected mutual nearest neighbours).
        similarity: Smallest cosine of neighbours; of the members to their group's centre for ``kmeans``.

    Raises:
        ValueError: another method.
    """
    if method not in METHODS:
        raise ValueError(f"{method!r} is none of {', '.join(METHODS)}")
    if len(vectors) < 2:
        return []
    labels = METHODS[method](vectors, similarity)
    groups: dict[int, list[int]] = {}
    for row, label in enumerate(labels.tolist()):
        if label >= 0:
            groups.setdefault(label, []).append(row)
    kept = [_close(group, vectors, similarity) for group in groups.values()]
    return sorted(group for group in kept if len(group) > 1)


def _close(group: list[int], vectors: Floats, similarity: float) -> list[int]:
    """Members at least ``similarity`` to the group's centre: chains and k-means' far members fall off."""
    centre = vectors[group].mean(0)
    length = float(np.linalg.norm(centre))
    return [row for row in group if length > 0 and float(vectors[row] @ centre) / length >= similarity]


def _sklearn() -> ModuleType:
    return require("sklearn.cluster", "corpus")


def _kmeans(vectors: Floats, similarity: float) -> NDArray[np.int64]:
    labels = _sklearn().KMeans(max(1, len(vectors) // 4), n_init=1, random_state=SEED).fit_predict(vectors)
    return np.asarray(labels, dtype=np.int64)


def _dbscan(vectors: Floats, similarity: float) -> NDArray[np.int64]:
    labels = _sklearn().DBSCAN(eps=_distance(similarity), min_samples=2).fit_predict(vectors)
    return np.asarray(labels, dtype=np.int64)


def _hdbscan(vectors: Floats, similarity: float) -> NDArray[np.int64]:
    labels = _sklearn().HDBSCAN(min_cluster_size=2, copy=True).fit_predict(vectors)  # far members fall off afterwards
    return np.asarray(labels, dtype=np.int64)


def _hierarchical(vectors: Floats, similarity: float) -> NDArray[np.int64]:
    tree = _sklearn().AgglomerativeClustering(
        n_clusters=None, distance_threshold=1 - similarity, metric="cosine", linkage="average"
    )  # fmt: skip
    filled = np.where(np.any(vectors, axis=1, keepdims=True), vectors, 1 / np.sqrt(vectors.shape[1]))
    return np.where(np.any(vectors, axis=1), tree.fit_predict(filled), -1).astype(np.int64)


def _mutual(vectors: Floats, similarity: float) -> NDArray[np.int64]:
    pairs = mutual_neighbours(vectors, similarity)
    ends, others = (np.array([pair[side] for pair in pairs], dtype=np.int64) for side in (0, 1))
    return smallest_members(len(vectors), ends, others)


def _distance(similarity: float) -> float:
    return float(np.sqrt(max(1e-9, 2 - 2 * similarity)))


METHODS: dict[str, Callable[[Floats, float], NDArray[np.int64]]] = {
    "kmeans": _kmeans,
    "dbscan": _dbscan,
    "hdbscan": _hdbscan,
    "hierarchical": _hierarchical,
    "mutual": _mutual,
}
