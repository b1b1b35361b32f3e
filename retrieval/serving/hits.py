"""What a search answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from osparse.retrieval.filters.extras import Extras
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


def note_without_query(text: str) -> str:
    if not text.strip():
        return "the query is empty: give it some text"
    return f"no token of {text!r} is in the model's vocabulary, so no document can match"


def note_without_hits(lang: str | None, extras: Extras) -> str:
    if extras.after is not None:
        return "no hits follow: that was the last page"
    where = f" of language {lang}" if lang is not None else ""
    if extras.parts:
        conditions = " and ".join(part.text for part in extras.parts)
        return f"no document{where} that satisfies the filter ({conditions}) has any of the query's tokens"
    return f"no document{where} has any of the query's tokens; are documents loaded? load them with: osparse index"
