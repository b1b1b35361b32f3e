"""Why a document matches a query, or does not: token by token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from osparse.contracts.bundle import Bundle
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.client import Cluster
from osparse.errors import InputError
from osparse.retrieval.filters.clauses import Filter
from osparse.retrieval.filters.matching import unsatisfied
from osparse.retrieval.searcher import Searcher
from osparse.retrieval.serving.matches import Match, matches
from osparse.retrieval.why_not import WhyNot
from osparse.retrieval.why_not import why_not as _why_not


class TokenContrast(NamedTuple):
    """What one query token brings each of two documents."""

    token: str
    query_weight: float
    weight: float
    """In the explained document; 0 where it is absent."""
    other_weight: float
    """In the other document."""
    difference: float
    """query_weight * (weight - other_weight): above 0 it speaks for the explained document."""


@dataclass(frozen=True)
class Contrast:
    """The explained document against another one; the differences add up to that of the scores."""

    id: str
    title: str
    text: str
    lang: str
    score: float
    tokens: list[TokenContrast]
    """Query tokens in either document, by falling absolute difference."""


@dataclass(frozen=True)
class Explanation:
    """One query against one document."""

    id: str
    title: str
    text: str
    lang: str
    score: float
    """Sum of the contributions: what the index answers for this document."""
    matched: list[Match]
    """Tokens in both, by falling contribution."""
    query_only: list[tuple[str, float]]
    """(token, query weight) that the document was not expanded with, by falling weight."""
    document_top: list[tuple[str, float]]
    """The document's largest weights on tokens that the query does not have."""
    literal: frozenset[str]
    """Tokens of the document's own text; every other weight of the document is an expansion."""
    non_zeros: int
    """Tokens the document has a weight for, in any of the searched fields."""
    unsatisfied: list[str] | None = None
    """The conditions of the filter that the document does not satisfy; None without a filter."""
    against: Contrast | None = None
    why_not: WhyNot | None = None
    shares: dict[str, float] = field(default_factory=dict)
    """Sparse field -> its part of the score, times its boost, where several are searched."""


def explain(
    cluster: Cluster,
    index: str,
    document_id: str,
    text: str,
    *,
    expansions: int = 20,
    against: str | None = None,
    why_not: bool = False,
    lang: str | None = None,
    filter: Filter | None = None,
    bundle: Bundle | Path | str | None = None,
    sparse_fields: Sequence[str] | None = None,
) -> Explanation:
    """Compare a query with a document of a deployed index.

    Args:
        expansions: How many of the document's other weights to return.
        against: The id of another document: why is this one above it, or below.
        why_not: Find out why the query does not find the document: its rank, a filter, the tokens it lacks with their
            rank in the encoder's output before pruning, and the part of its text that was cut off.
        lang: With ``why_not``: the language that the search was restricted to.
        filter: The filter that the search had: which of its conditions does the document not satisfy?
        bundle: With ``why_not``: the deployed bundle, where the cluster does not hold its ONNX encoder.
        sparse_fields: Those that are searched, of an index that has several; None: all that have a boost.

    Raises:
        InputError: the index has no such document or field, the filter is malformed, ``bundle`` is not the deployed
            one, or ``against`` or ``why_not`` is asked of several sparse fields.
        ClusterError: there is no such index, osparse did not deploy it, or it does not keep its documents' ``_source``.
    """
    searcher = Searcher(cluster, index, sparse_fields=sparse_fields)
    for name, asked in (("`against`", against is not None), ("`why_not`", why_not)):
        if asked:
            searcher.check_one_field(f"{name} of an explanation")
    parts = searcher.parts(filter)
    source = _source(searcher, document_id)
    query = searcher.weights(text)
    document = searcher.document_weights(source, query)
    matched = searcher.matcher(text)(source)
    others = [(token, weight) for token, weight in document.items() if token not in query]
    shown = _shown(source)
    return Explanation(
        id=document_id,
        **shown,
        score=sum(match.contribution for match in matched),
        matched=matched,
        query_only=_by_weight([(t, w) for t, w in query.items() if t not in document]),
        document_top=_by_weight(others)[:expansions],
        literal=frozenset(searcher.encoder.encode(searcher.text_of(source))),
        non_zeros=len(document),
        unsatisfied=None if filter is None else unsatisfied(ClusterApi(cluster), index, document_id, parts),
        against=None if against is None else _contrast(searcher, query, document, against),
        why_not=_why_not(
            searcher, document_id, source, text, document, lang=lang, filter=filter, bundle=_opened(bundle)
        )
        if why_not
        else None,
        shares=_shares(searcher, matched),
    )


def _shares(searcher: Searcher, matched: Sequence[Match]) -> dict[str, float]:
    if len(searcher.views) == 1:
        return {}
    return {
        view.field: sum(match.contribution for match in matched if match.field == view.field) for view in searcher.views
    }


def _source(searcher: Searcher, document_id: str) -> dict[str, Any]:
    source = ClusterApi(searcher.cluster).get_document(searcher.index, document_id)
    if source is None:
        raise InputError(f"index {searcher.index} has no document {document_id!r}; osparse search shows the ids it has")
    return source


def _shown(source: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(source.get(name) or "") for name in ("title", "text", "lang")}


def _opened(bundle: Bundle | Path | str | None) -> Bundle | None:
    return bundle if bundle is None or isinstance(bundle, Bundle) else Bundle.open(bundle)


def _contrast(searcher: Searcher, query: Mapping[str, float], document: Mapping[str, float], other_id: str) -> Contrast:
    source = _source(searcher, other_id)
    other = searcher.document_weights(source, query)
    tokens = []
    for token, query_weight in query.items():
        if token in document or token in other:
            pair = document.get(token, 0.0), other.get(token, 0.0)
            tokens.append(TokenContrast(token, query_weight, *pair, query_weight * (pair[0] - pair[1])))
    tokens.sort(key=lambda contrast: (-abs(contrast.difference), contrast.token))
    score = sum(match.contribution for match in matches(query, other))
    return Contrast(other_id, **_shown(source), score=score, tokens=tokens)


def _by_weight(pairs: list[tuple[str, float]]) -> list[tuple[str, float]]:
    return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))
