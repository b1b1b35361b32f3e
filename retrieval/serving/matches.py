"""The tokens that a query and a document share, and what each adds to the score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from osparse.retrieval.serving.forms import SearchForms


class Match(NamedTuple):
    """A token that query and document share; the contributions of a hit add up to its score."""

    token: str
    query_weight: float
    document_weight: float
    """As the index stores it (9 significant bits)."""
    contribution: float
    """The product of the two, times the boost of the field where several are searched."""
    field: str = ""
    """The sparse field, where several are searched."""


def matches(query: Mapping[str, float], document: Mapping[str, float]) -> list[Match]:
    """Tokens in both, by falling contribution, then by token."""
    return by_contribution([Match(t, w, document[t], w * document[t]) for t, w in query.items() if t in document])


def matches_of_fields(parts: Sequence[SearchForms], source: Mapping[str, Any], text: str) -> list[Match]:
    """The tokens that a query and each of several sparse fields of a document share, as :func:`matches`.

    Args:
        source: The document as the index holds it.
    """
    found = list[Match]()
    for part in parts:
        query, boost = part.weights(text), part.deployment.boost
        for match in matches(query, part.stored(source, query)):
            found.append(match._replace(contribution=boost * match.contribution, field=part.deployment.field))
    return by_contribution(found)


def by_token(found: Sequence[Match]) -> dict[str, float]:
    """Token -> what it adds to the score in all fields, by falling contribution."""
    added: dict[str, float] = {}
    for match in found:
        added[match.token] = added.get(match.token, 0.0) + match.contribution
    return dict(sorted(added.items(), key=lambda pair: -pair[1]))


def by_contribution(found: Sequence[Match]) -> list[Match]:
    return sorted(found, key=lambda match: (-match.contribution, match.token, match.field))
