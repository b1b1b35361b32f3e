"""Connected components against a naive search, on random graphs and on a long chain."""

from __future__ import annotations

import numpy as np

from osparse.algorithms.components import smallest_members


def naive(nodes: int, edges: list[tuple[int, int]]) -> list[int]:
    label = list(range(nodes))
    changed = True
    while changed:
        changed = False
        for a, b in edges:
            low = min(label[a], label[b])
            changed |= label[a] != low or label[b] != low
            label[a] = label[b] = low
    return label


def test_equals_a_naive_search() -> None:
    generator = np.random.default_rng(0)
    for nodes, edges in ((1, 0), (5, 0), (30, 10), (30, 25), (200, 150)):
        ends, others = generator.integers(0, nodes, (2, edges))
        found = smallest_members(nodes, ends, others).tolist()
        assert found == naive(nodes, list(zip(ends.tolist(), others.tolist(), strict=True)))


def test_a_long_chain_in_any_order_is_one_component() -> None:
    order = np.random.default_rng(1).permutation(50_000)
    assert not smallest_members(50_000, order[1:], order[:-1]).any()
