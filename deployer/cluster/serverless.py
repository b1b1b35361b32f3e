"""Amazon OpenSearch Serverless: a collection takes some of OpenSearch's calls, and has no nodes, plugins or settings.

What it takes is in https://docs.aws.amazon.com/opensearch-service/latest/developerguide/serverless-genref.html. Those
calls are sent; a few others that osparse makes only to learn about a cluster are answered here; any other is refused
before it is sent. That ``GET /`` and ``_refresh`` are 404 and ``refresh=true`` is 400 is reported in
opensearch-project/opensearch-ruby#131 and opensearch-py#646. Indices of a collection of the type ``search`` alone keep
the ids of documents.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from osparse.deployer.cluster.client import Answer, Cluster
from osparse.deployer.cluster.credentials import SERVERLESS, Credentials, check_url
from osparse.errors import ClusterError, InputError

_INDEX = r"/(?!_)[^/]+"
_SENT = {
    "GET": (
        rf"{_INDEX}", rf"({_INDEX})?/_mappings?", rf"{_INDEX}/_settings?(/[^/]+)?", r"/_cat/(indices|aliases)",
        rf"{_INDEX}/_(doc|explain|source)/[^/]+", rf"({_INDEX})?/_(mget|msearch|search|field_caps|analyze)",
        rf"{_INDEX}/_count", rf"({_INDEX})?/_alias(/[^/]+)?", r"/_index_template(/[^/]+)?",
    ),
    "HEAD": (rf"{_INDEX}", rf"{_INDEX}/_(doc|source)/[^/]+"),
    "POST": (
        rf"({_INDEX})?/_bulk", rf"({_INDEX})?/_(search|field_caps|analyze)", rf"{_INDEX}/_(count|explain/[^/]+)",
        rf"{_INDEX}/_doc", rf"{_INDEX}/_(create|update)/[^/]+", r"/_aliases",
    ),
    "PUT": (rf"{_INDEX}", rf"{_INDEX}/_(mapping|settings)", rf"{_INDEX}/_(doc|create)/[^/]+"),
    "DELETE": (rf"{_INDEX}", rf"{_INDEX}/_doc/[^/]+"),
}  # fmt: skip
"""Documented calls, as far as osparse makes them."""
_VERSION = {"number": "2.17 (Serverless)", "distribution": "opensearch"}
"""The version whose calls a collection takes; AWS updates it by itself."""
_ANSWERED: dict[str, tuple[int, Any]] = {
    r"GET /": (200, {"cluster_name": "OpenSearch Serverless", "version": _VERSION}),
    r"GET /_cat/plugins": (200, []),
    r"GET /_nodes.*": (200, {"nodes": {}}),
    r"GET /_cluster/settings": (200, {}),
    r"GET /_cluster/health": (404, {}),
    r"POST /_plugins/_ml/(models|model_groups)/_search": (404, {}),
    r"GET /_plugins/_security/authinfo": (404, {}),
    r"GET /[^/]+/_stats/store": (200, {}),
    r"GET /_template": (404, {}),
    r"POST /_index_template/_simulate_index/.*": (404, {}),
    r"GET /_(ingest|search)/pipeline/.*": (404, {}),
    r"POST /[^/]+/_refresh": (200, {}),
}
"""What is asked of every cluster, and the answer that fits a collection: it has no such thing, and refreshes alone."""
_AS_GET = re.compile(r".*/_(mget|msearch)")
"""Documented with GET only."""
_OWN_SETTINGS = ("number_of_shards", "auto_expand_replicas", "default_pipeline", "final_pipeline",
                 "search.default_pipeline", "hidden")  # fmt: skip
"""Index settings of osparse's templates about what a collection manages by itself or does not have."""


class ServerlessCluster(Cluster):
    """A collection; every request is checked against what Serverless has."""

    serverless = True

    def request(
        self, method: str, path: str, *, params: Mapping[str, str] | None = None, body: Any = None, **more: Any
    ) -> Answer:
        """As :meth:`Cluster.request`; raises :class:`ClusterError` for a call that Serverless does not have."""
        for pattern, (status, answer) in _ANSWERED.items():
            if re.fullmatch(pattern, f"{method} {path}"):
                return Answer(status, answer, {})
        method = "GET" if method == "POST" and _AS_GET.fullmatch(path) else method
        path = path.replace("/_all/", "/*/", 1)
        if not any(re.fullmatch(pattern, path) for pattern in _SENT.get(method, ())):
            raise ClusterError(
                f"OpenSearch Serverless has no {method} {path}, which this needs; use a managed domain or a cluster of "
                "your own for it (docs/aws.md lists what a collection can do)"
            )
        without = {name: value for name, value in (params or {}).items() if name != "refresh"}
        return super().request(method, path, params=without or None, body=_of_a_collection(method, body), **more)


def _of_a_collection(method: str, body: Any) -> Any:
    """The body of a new index without the settings that a collection does not take."""
    if method != "PUT" or not isinstance(body, Mapping) or "index" not in body.get("settings", {}):
        return body
    index = {name: value for name, value in body["settings"]["index"].items() if name not in _OWN_SETTINGS}
    return {**body, "settings": {"index": index}}


def open_cluster(url: str, **arguments: Any) -> Cluster:
    """A :class:`Cluster`, with the environment's credentials unless others are given; sends nothing yet.

    One whose requests are signed for the service aoss is a :class:`ServerlessCluster`.

    Raises:
        InputError: a Serverless collection whose requests are not signed for it.
    """
    credentials = arguments.get("credentials")
    if isinstance(credentials, Credentials) and credentials.service == SERVERLESS:
        return ServerlessCluster(url, **arguments)
    if re.search(r"\.aoss(\.[a-z0-9-]+)?\.(amazonaws\.com(\.cn)?|on\.aws)$", check_url(url).hostname or ""):
        raise InputError(f"{url} is a Serverless collection; pass `aws_region` and `aws_service={SERVERLESS}`")
    return Cluster(url, **arguments)
