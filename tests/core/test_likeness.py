"""What a quantised encoder may change about a text's weights, and what shows that it is broken."""

from __future__ import annotations

import pytest

from osparse.deployer.mlcommons.proof import check_weights
from osparse.encoders.similarity import unlike
from osparse.errors import CheckError

WANTED = {"pear": 1.6, "tree": 1.2, "grow": 0.8, "fruit": 0.4}


@pytest.mark.parametrize("found", [WANTED, {t: w + 0.05 for t, w in WANTED.items()}, {**WANTED, "stone": 0.05}])
def test_a_little_off_is_alike(found: dict[str, float]) -> None:
    assert unlike(found, WANTED) is None


@pytest.mark.parametrize(
    "found",
    [
        {},
        {t: w / 2 for t, w in WANTED.items()},
        dict(zip(WANTED, reversed(WANTED.values()), strict=True)),
        {f"x{t}": w for t, w in WANTED.items()},
        {**WANTED, **{f"x{n}": 0.01 for n in range(9)}},
    ],
    ids=["nothing", "half as long", "other order", "other tokens", "many more"],
)
def test_what_a_large_tolerance_lets_through_is_not(found: dict[str, float]) -> None:
    check_weights("it", "a pear tree", WANTED, found, 2.0)
    with pytest.raises(CheckError, match="gives another vector: cosine"):
        check_weights("it", "a pear tree", WANTED, found, 2.0, alike=True)


def test_nothing_is_like_nothing() -> None:
    assert unlike({}, {}) is None and unlike({"pear": 1.0}, {}) is not None
