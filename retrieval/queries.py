"""The search body for a deployment: the kind of query follows from how the deployment serves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from osparse.contracts.deployment import Deployment
from osparse.formula.lexicon import MAX_WEIGHT, MIN_WEIGHT
from osparse.opensearch_templates import render
from osparse.opensearch_templates.queries import asks_by_text, filtered_body, text_body, tokens_body


def query_body(
    deployment: Deployment,
    text: str,
    weights: Mapping[str, float],
    *,
    size: int,
    lang: str | None = None,
    filters: Sequence[Mapping[str, Any]] = (),
    own_weights: bool = False,
) -> dict[str, Any] | None:
    """A whole ``_search`` body, or None where no document can match (no text, or no token with a weight).

    - ml-commons: ``neural_sparse`` with the text; the search pipeline's enricher names the tokenizer model. With
      ``query_tokens`` instead in a nested field, and in a ``sparse_vector`` field, whose token ids an alias takes.
    - client on a cluster with neural-search (raw keys): ``neural_sparse`` with ``query_tokens``.
    - client on any other (keys with U+2024): one ``rank_feature`` clause a token, linear, the weight as its boost.

    Args:
        weights: Token -> query weight, named as osparse.opensearch_templates.queries.query_keys does; not used
            where the text itself is sent.
        size: Hits to return.
        lang: Only documents of this language.
        filters: Further query clauses that a hit must satisfy and that do not change its score.
        own_weights: Send the weights in every mode: they are not those that the server would look up.
    """
    body = _plain_body(deployment, well_formed(text), sendable(weights), size, by_text=not own_weights)
    if body is None:
        return None
    return filtered_body(deployment, body, with_language(filters, lang))


def with_language(filters: Sequence[Mapping[str, Any]], lang: str | None) -> list[Mapping[str, Any]]:
    """``filters`` after the one that lets documents of one language through; None adds none."""
    return [*([render("filter_lang", lang=lang)] if lang is not None else []), *filters]


def well_formed(text: str) -> str:
    """A byte of the command line that was no UTF-8 (half a surrogate pair in Python) becomes a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8")


def sendable(weights: Mapping[str, float]) -> dict[str, float]:
    """The weights a server takes: one outside (0, 64] fails the whole query, one below 1e-6 adds nothing."""
    return {t: min(w, MAX_WEIGHT) for t, w in weights.items() if math.isfinite(w) and w >= MIN_WEIGHT}


def _plain_body(
    deployment: Deployment, text: str, weights: dict[str, float], size: int, *, by_text: bool
) -> dict[str, Any] | None:
    if by_text and asks_by_text(deployment):
        if not text.strip():
            return None  # the server answers 400 to an empty text
        return text_body(deployment, text, size)
    if not weights:
        return None  # an empty bool would match every document
    return tokens_body(deployment, weights, size)
