from __future__ import annotations

import numpy as np

from osparse.trainer.translation import ITERATIONS, MIN_MASS, Translations

SOURCES = [np.array(s, dtype=np.int64) for s in ([1, 2], [1, 3], [2, 3], [1], [])]
TARGETS = [np.array(t, dtype=np.int64) for t in ([11, 12], [11, 13], [12, 13], [11], [14])]


def naive(sources: list[list[int]], targets: list[list[int]]) -> dict[tuple[int, int], float]:
    """IBM Model 1 as the paper's pseudo code has it, starting uniform over the targets seen with a source."""
    seen = {(f, e) for s, t in zip(sources, targets, strict=True) for f in s for e in t}
    table = {(f, e): 1 / sum(1 for g, _ in seen if g == f) for f, e in seen}
    for _ in range(ITERATIONS):
        counts = dict.fromkeys(seen, 0.0)
        for s, t in zip(sources, targets, strict=True):
            for e in t:
                total = sum(table[f, e] for f in s)
                for f in s:
                    counts[f, e] += table[f, e] / total
        table = {(f, e): c / sum(v for (g, _), v in counts.items() if g == f) for (f, e), c in counts.items()}
    return table


def test_equals_the_naive_model_one() -> None:
    found = Translations(SOURCES, TARGETS, 20)
    wanted = naive([s.tolist() for s in SOURCES], [t.tolist() for t in TARGETS])
    for record, (sources, targets) in enumerate(zip(SOURCES, TARGETS, strict=True)):
        for i, f in enumerate(sources):
            for j, e in enumerate(targets):
                assert abs(found.block(record)[i, j] - wanted[int(f), int(e)]) < 1e-6
    assert wanted[1, 11] > 0.9  # it did learn


def test_samples_come_from_the_record_by_their_probability() -> None:
    found = Translations(SOURCES, TARGETS, 20)
    generator = np.random.default_rng(0)
    drawn = found.sample(0, np.array([1] * 4000 + [2] * 4000 + [7]), generator)
    assert set(drawn[:-1].tolist()) <= {11, 12} and drawn[-1] == -1
    share = found.block(0)[0, 0] / found.block(0)[0].sum()
    assert abs((drawn[:4000] == 11).mean() - share) < 0.02
    assert (found.sample(4, np.array([1, 2]), generator) == -1).all()  # nothing aligned
    assert found.block(0)[0].sum() >= MIN_MASS
