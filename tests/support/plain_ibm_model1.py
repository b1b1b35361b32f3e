"""IBM Model 1 written plainly: what the product's is compared with."""

from __future__ import annotations

from osparse.algorithms.ibm_model1 import ITERATIONS


def naive(sources: list[list[int]], targets: list[list[int]], empty: bool = True) -> dict[tuple[int, int], float]:
    """The paper's pseudo code, with -1 as the empty word, starting uniform over what is seen together."""
    pairs = [([*s, -1] if empty else s, t) for s, t in zip(sources, targets, strict=True)]
    seen = {(f, e) for s, t in pairs for f in s for e in t}
    table = {(f, e): 1 / sum(1 for g, _ in seen if g == f) for f, e in seen}
    for _ in range(ITERATIONS):
        counts = dict.fromkeys(seen, 0.0)
        for s, t in pairs:
            for e in t:
                total = sum(table[f, e] for f in s)
                for f in s:
                    counts[f, e] += table[f, e] / total
        table = {(f, e): c / sum(v for (g, _), v in counts.items() if g == f) for (f, e), c in counts.items()}
    return table
