"""Searches sent to an index after a merge or a restart, so that its files are in memory before users come."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from osparse.contracts.deployment import Deployment, stored_vectors, token_of
from osparse.deployer.cluster.api import ClusterApi
from osparse.opensearch_templates import render
from osparse.opensearch_templates.queries import tokens_body

SEARCHES = 50
"""Searches that are sent, each of the heaviest tokens of one document."""
TOKENS = 8
"""Tokens of one search."""


def warm_up(api: ClusterApi, index: str, deployment: Deployment) -> int:
    """Search for the heaviest tokens of documents drawn at random; returns how many searches were sent."""
    body = render("documents_random", size=SEARCHES, seed=random.randrange(2**31))
    hits = api.search(index, body, {"search_pipeline": "_none"}, whole=True)["hits"]["hits"]
    sent = [query for hit in hits for query in [_query(deployment, hit.get("_source", {}))] if query is not None]
    for query in sent:
        api.search(index, {**query, "_source": False}, {"search_pipeline": "_none"})
    return len(sent)


def _query(deployment: Deployment, source: Mapping[str, Any]) -> dict[str, Any] | None:
    vectors = stored_vectors(source, deployment.field)
    if not vectors or not vectors[0]:
        return None
    heaviest = sorted(vectors[0].items(), key=lambda pair: -float(pair[1]))[:TOKENS]
    raw = deployment.vector == "sparse_vector"  # its features are ids, and are sent as they are
    tokens = {name if raw else token_of(name, deployment.key_style): float(weight) for name, weight in heaviest}
    return tokens_body(deployment, tokens, 10)
