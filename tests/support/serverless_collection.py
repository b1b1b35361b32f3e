"""An OpenSearch Serverless collection of the type ``search``: the test server behind the calls that AWS documents.

The operations are those of https://docs.aws.amazon.com/opensearch-service/latest/developerguide/serverless-genref.html.
Anything else is 404 with nothing in the body, as clients report (opensearch-py#646, k-NN#1037); ``refresh=true`` is 400
(opensearch-ruby#131); a request that is not signed for ``aoss``, or does not sign its content, is 403.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

from local_http import serving
from mlcommons_http import Handler
from mlcommons_refusals import Refused
from mlcommons_server import MLCommonsServer

DOCUMENTED = """
PUT {}                GET {}                 HEAD {}                GET {}/_mapping         GET {}/_settings
GET {}/_settings/*    GET _cat/indices       GET _mapping           GET _resolve/index/*    DELETE {}/_doc/*
POST {}/_bulk         POST {}/_create/*      POST {}/_doc           POST {}/_update/*       POST _bulk
PUT {}/_create/*      PUT {}/_doc/*          GET {}/_analyze        GET {}/_doc/*           GET {}/_explain/*
GET {}/_mget          GET {}/_source/*       GET {}/_count          GET {}/_field_caps      GET {}/_msearch
GET {}/_rank_eval     GET {}/_search         GET {}/_validate/*     GET _analyze            GET _field_caps
GET _mget             GET _search            HEAD {}/_doc/*         HEAD {}/_source/*       POST {}/_analyze
POST {}/_explain/*    POST {}/_count         POST {}/_field_caps    POST {}/_rank_eval      POST {}/_search
POST _analyze         POST _field_caps       POST _search           DELETE {}               POST _mapping
POST {}/_mapping      POST {}/_settings      PUT _mapping           PUT {}/_mapping         PUT {}/_settings
POST _aliases         GET {}/_alias          GET {}/_alias/*        GET _alias              GET _alias/*
GET _cat/aliases      GET _index_template    GET _index_template/*  GET _component_template
"""
SETTINGS = {"knn", "knn.algo_param.ef_search", "refresh_interval", "analysis", "mapping"}
"""Of an index: the first three are those of AWS::OpenSearchServerless::Index."""


class ServerlessCollection(MLCommonsServer):
    """Start with :func:`serverless_collection`."""

    def __init__(self) -> None:
        super().__init__(plugins=(), settings={})
        words = DOCUMENTED.split()
        self.operations = list(zip(words[::2], words[1::2], strict=True))
        self.refused: list[str] = []
        """Calls that a collection does not have."""

    def answer(self, method: str, path: str, query: dict[str, str], kind: str, data: bytes) -> tuple[int, Any]:
        if not self._is_signed():
            return 403, Refused(403, "security_exception", "403 Forbidden").body()
        if not self._has(method, path):
            self.refused.append(f"{method} {path}")
            return 404, None
        if "refresh" in query:
            return 400, Refused(400, "status_exception", f"{query['refresh']} refresh policy is not supported.").body()
        body = json.loads(data) if method == "PUT" and path.count("/") == 1 else {}
        if unknown := sorted({*body.get("settings", {}).get("index", {})} - SETTINGS):
            return 400, Refused(400, "illegal_argument_exception", f"unknown setting {unknown}").body()
        if path.endswith(("/_mget", "/_msearch")):
            method = "POST"  # the server beneath takes them so
        return super().answer(method, path, query, kind, data)

    def _is_signed(self) -> bool:
        headers = self.headers_seen[-1]
        signature = headers.get("authorization", "")
        is_aws = signature.startswith("AWS4-HMAC-SHA256 ") and "/aoss/aws4_request" in signature
        return is_aws and "x-amz-content-sha256" in signature

    def _has(self, method: str, path: str) -> bool:
        first, *rest = path.strip("/").split("/")
        shape = "/".join([first if first.startswith("_") and first != "_all" else "{}", *rest])
        return any(method == known and fnmatchcase(shape, pattern) for known, pattern in self.operations)


@contextmanager
def serverless_collection() -> Iterator[ServerlessCollection]:
    """A running collection on a free port of 127.0.0.1."""
    collection = ServerlessCollection()
    handler = type("Handler", (Handler,), {"emulator": collection})
    with serving(handler) as collection.url:
        yield collection
