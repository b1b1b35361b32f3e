"""Why a document matches a query, or does not: token by token."""

from __future__ import annotations

from dataclasses import dataclass

from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.client import Cluster
from osparse.errors import InputError
from osparse.retrieval.searcher import Match, Searcher, matches


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
    """The document's largest weights that the query does not ask for."""
    literal: frozenset[str]
    """Tokens of the document's own text; every other weight of the document is an expansion."""
    non_zeros: int
    """Weights the document has."""


def explain(cluster: Cluster, index: str, document_id: str, text: str, *, expansions: int = 20) -> Explanation:
    """Compare a query with a document of a deployed index.

    Args:
        expansions: How many of the document's other weights to bring.

    Raises:
        InputError: the index has no such document.
        ClusterError: there is no such index, osparse did not deploy it, or it does not keep its documents' ``_source``.
    """
    searcher = Searcher(cluster, index)
    source = ClusterApi(cluster).get_document(index, document_id)
    if source is None:
        raise InputError(f"index {index} has no document {document_id!r}; osparse search shows the ids it has")
    query = searcher.weights(text)
    document = searcher.document_weights(source, query)
    matched = matches(query, document)
    others = [(token, weight) for token, weight in document.items() if token not in query]
    shown = {name: str(source.get(name) or "") for name in ("title", "text", "lang")}
    return Explanation(
        id=document_id,
        **shown,
        score=sum(match.contribution for match in matched),
        matched=matched,
        query_only=_by_weight([(t, w) for t, w in query.items() if t not in document]),
        document_top=_by_weight(others)[:expansions],
        literal=frozenset(searcher.encoder.encode(shown["text"])),
        non_zeros=len(document),
    )


def _by_weight(pairs: list[tuple[str, float]]) -> list[tuple[str, float]]:
    return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))
