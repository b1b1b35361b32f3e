"""Which documents satisfy a filter, whatever the query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from osparse.deployer.cluster.api import ClusterApi
from osparse.opensearch_templates import render
from osparse.retrieval.filters.clauses import FilterPart

BATCH = 1000
"""Documents asked for in one request."""


def unsatisfied(api: ClusterApi, index: str, document_id: str, parts: Sequence[FilterPart]) -> list[str]:
    """The conditions that a document of the index does not satisfy, as the user wrote them."""
    return [part.text for part in parts if not satisfying(api, index, [document_id], [part.clause])]


def satisfying(api: ClusterApi, index: str, ids: Sequence[str], clauses: Sequence[Mapping[str, Any]]) -> set[str]:
    """Those of ``ids`` that the index holds and that satisfy all of ``clauses``."""
    passed = set[str]()
    for start in range(0, len(ids), BATCH):
        some = render("filter_ids", ids=list(ids[start : start + BATCH]))
        body = render("search_filter_only", size=BATCH, clauses=[some, *clauses])
        answer = api.search(index, body, {"search_pipeline": "_none"}, whole=True)
        passed |= {hit["_id"] for hit in answer["hits"]["hits"]}
    return passed
