"""Connected components of a graph, given as its edges."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def smallest_members(nodes: int, ends: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.int64]:
    """(nodes,) the smallest node of each node's component; a node without edges is its own.

    Labels fall to the smallest of their component, in about log(nodes) rounds in practice.

    Args:
        ends, others: (E,) the two nodes of each edge, numbered from 0.
    """
    labels = np.arange(nodes, dtype=np.int64)
    while True:
        smallest = np.minimum(labels[ends], labels[others])
        new = labels.copy()
        for reached in (labels[ends], labels[others], ends, others):
            np.minimum.at(new, reached, smallest)
        new = new[new]
        if np.array_equal(new, labels):
            return labels
        labels = new
