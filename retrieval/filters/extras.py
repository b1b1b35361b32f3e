"""What a search asks for besides its text: conditions, order, the fields that hits bring, aggregations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from osparse.retrieval.filters.clauses import FilterPart


@dataclass(frozen=True)
class Extras:
    parts: Sequence[FilterPart] = ()
    sort: Sequence[Mapping[str, Any]] = ()
    after: Sequence[Any] | None = None
    fields: Sequence[str] | None = None
    """Names or patterns of the fields that hits bring; None brings all but the weights."""
    aggregations: Mapping[str, Any] | None = None

    @property
    def filters(self) -> list[dict[str, Any]]:
        return [part.clause for part in self.parts]

    def source(self, needed: Sequence[str]) -> bool | dict[str, Any] | None:
        """``_source`` of the search; None leaves that of the query's template, which has all but the weights.

        Args:
            needed: Fields that the hits must bring besides those asked for.
        """
        if self.fields is None:
            return True if needed else None
        return {"includes": [*self.fields, *needed]}

    def added_to(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The body with order, page and aggregations."""
        more: dict[str, Any] = {}
        if self.sort:
            more |= {"sort": [dict(clause) for clause in self.sort], "track_scores": True}
        if self.after is not None:
            more["search_after"] = list(self.after)
        if self.aggregations is not None:
            more["aggs"] = dict(self.aggregations)
        return {**body, **more}
