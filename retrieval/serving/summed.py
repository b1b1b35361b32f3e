"""Searches by several sparse fields of an index: the scores of its fields, each times its boost, add up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from osparse.contracts.deployment import Deployment
from osparse.errors import InputError
from osparse.opensearch_templates.queries import summed_body, with_filters
from osparse.retrieval.serving.forms import Filters, SearchForms


@dataclass(frozen=True)
class SummedForms(SearchForms):
    """Bodies that ask several fields; the rest is that of the first of them."""

    parts: tuple[SearchForms, ...] = ()
    """Of each field, whose boost its deployment says."""

    def weights(self, text: str) -> dict[str, float]:
        """Those of the first field whose bundle knows a token of the text."""
        return next((weights for part in self.parts if (weights := part.weights(text))), {})

    def body(
        self,
        text: str,
        weights: Mapping[str, float],
        *,
        size: int,
        filters: Filters = (),
        more: Mapping[str, float] | None = None,
    ) -> dict[str, Any] | None:
        """As that of one field; every field is asked with the weights of its own bundle."""
        made = {part.deployment.field: part.body(text, part.weights(text), size=size) for part in self.parts}
        bodies = {field: body for field, body in made.items() if body is not None}
        if not bodies:
            return None
        boosts = {part.deployment.field: part.deployment.boost for part in self.parts}
        return with_filters(summed_body(bodies, boosts, size), filters)

    def stored(self, source: Mapping[str, Any], query: Mapping[str, float]) -> dict[str, float]:
        """Raw token -> the largest of its weights in the fields of a document's ``_source``."""
        largest: dict[str, float] = {}
        for part in self.parts:
            for token, weight in part.stored(source, query).items():
                largest[token] = max(weight, largest.get(token, 0.0))
        return largest


def chosen_views(deployment: Deployment, index: str, named: Sequence[str] | None) -> list[Deployment]:
    """The views of the sparse fields that a search asks: the named ones, or all that have a boost.

    One that is named in spite of a boost of 0 counts with 1; where one field is asked, boosts change nothing.

    Raises:
        InputError: a name that is no sparse field of the index, or no name.
    """
    if not deployment.fields and named is None:
        return [deployment]
    views = {view.field: view for view in (deployment.views if deployment.fields else [deployment])}
    if named is None:
        return [view for view in views.values() if view.boost]
    unknown = [name for name in named if name not in views]
    if unknown or not named:
        said = f"has no sparse field {', '.join(unknown)}" if unknown else "is asked by no field"
        raise InputError(f"index {index} {said}; its sparse fields: {', '.join(views)}")
    return [replace(views[name], boost=views[name].boost or 1.0) for name in dict.fromkeys(named)]
