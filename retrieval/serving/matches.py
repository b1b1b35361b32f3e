"""The tokens that a query and a document share, and what each adds to the score."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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


Matcher = Callable[[Mapping[str, Any]], list[Match]]
"""A document's ``_source`` -> the tokens that it shares with one query."""


def matches(query: Mapping[str, float], document: Mapping[str, float]) -> list[Match]:
    """Tokens in both, by falling contribution, then by token."""
    return by_contribution([Match(t, w, document[t], w * document[t]) for t, w in query.items() if t in document])


def matcher_of_fields(parts: Sequence[SearchForms], text: str) -> Matcher:
    """Gives the tokens that a query and each of several sparse fields of a document share, as :func:`matches`."""
    queries = [(part, part.weights(text)) for part in parts]

    def matched(source: Mapping[str, Any]) -> list[Match]:
        found = list[Match]()
        for part, query in queries:
            for match in matches(query, part.stored(source, query)):
                contribution = part.deployment.boost * match.contribution
                found.append(match._replace(contribution=contribution, field=part.deployment.field))
        return by_contribution(found)

    return matched


def by_token(found: Sequence[Match]) -> dict[str, float]:
    """Token -> what it adds to the score in all fields, by falling contribution."""
    added: dict[str, float] = {}
    for match in found:
        added[match.token] = added.get(match.token, 0.0) + match.contribution
    return dict(sorted(added.items(), key=lambda pair: -pair[1]))


def by_contribution(found: Sequence[Match]) -> list[Match]:
    return sorted(found, key=lambda match: (-match.contribution, match.token, match.field))
