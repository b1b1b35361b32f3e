"""What a search answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from osparse.retrieval.serving.highlights import Highlights
from osparse.retrieval.serving.matches import Match


@dataclass(frozen=True)
class Hit:
    id: str
    score: float
    title: str
    text: str
    lang: str
    matched: list[Match] = field(default_factory=list)
    """By falling contribution; empty unless the search was made with ``explain`` or ``highlight``."""
    fields: dict[str, Any] = field(default_factory=dict)
    """Of the document, those that ``fields`` of the search names; empty without it."""
    sort: list[Any] = field(default_factory=list)
    """The values that the hit was sorted by, for ``after`` of the next page; empty without ``sort``."""
    highlights: Highlights | None = None


@dataclass(frozen=True)
class Answer:
    """The hits of one query, and the query itself."""

    query: dict[str, float]
    """Raw token -> weight."""
    hits: list[Hit]
    took_ms: int
    """Time that the cluster measured; with feedback or fusion the whole time, requests included."""
    note: str
    """Why there are no hits, or what the search left out; empty when there is nothing to say."""
    aggregations: dict[str, Any] = field(default_factory=dict)
    """As the server answers them; empty unless they were asked for."""
