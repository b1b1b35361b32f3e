"""What an index's _meta says, and how features are named."""

from __future__ import annotations

import pytest

from osparse.contracts.deployment import Deployment, feature_name, token_of
from osparse.errors import ClusterError

TOKENS = ["a.b", ".", "...", "plain", "\u2024", "a\u2024.b", "##.", "한.국", ""]


def test_feature_names_are_reversible_and_without_dots() -> None:
    names = [feature_name(token, "u2024") for token in TOKENS]
    assert not any("." in name for name in names) and len(set(names)) == len(TOKENS)
    assert [token_of(name, "u2024") for name in names] == TOKENS
    assert feature_name("a.b", "u2024") == "a\u2024b"
    assert [feature_name(token, "raw") for token in TOKENS] == TOKENS == [token_of(token, "raw") for token in TOKENS]


def test_meta_goes_round_and_a_foreign_one_is_told() -> None:
    made = Deployment("client", "b", "f" * 64, "i" * 12, 400, 64, "u2024", None, None)
    assert Deployment.from_meta(made.to_meta(), "i") == made
    for meta in ({}, {"osparse": 1}, {"osparse": {"schema": 99}}, {"osparse": {"schema": 1, "from": "later"}}):
        with pytest.raises(ClusterError, match="index i"):
            Deployment.from_meta(meta, "i")
