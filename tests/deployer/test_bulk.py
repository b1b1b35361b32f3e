"""Bulk: split by size, busy documents again, every failure with its reason."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from fault_proxy import fault_proxy
from mlcommons_refusals import Refused
from mlcommons_server import MLCommonsServer

from osparse.deployer import Cluster
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.credentials import Credentials
from osparse.deployer.load import bulk
from osparse.deployer.load.bulk import send_bulk

from .conftest import client

MAPPINGS = {"mappings": {"properties": {"e": {"type": "rank_features"}}}}


def lines(count: int) -> list[bulk.Line]:
    return [bulk.Line(str(n), {"text": "x" * 100, "e": {"a": 1.0 + n}}) for n in range(count)]


def test_documents_arrive_in_bodies_of_bounded_size(server: MLCommonsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    client(server).request("PUT", "/i", body=MAPPINGS)
    monkeypatch.setattr(bulk, "MAX_BYTES", 1000)
    assert send_bulk(ClusterApi(client(server)), "i", [*lines(20), bulk.Line("big", {"text": "y" * 3000})]) == []
    assert len(server.indices["i"].documents) == 21
    sizes = [
        int(h["content-length"]) for c, h in zip(server.calls, server.headers_seen, strict=True) if "_bulk" in c.path
    ]
    assert len(sizes) > 3 and max(sizes[:-1]) <= 1000 < sizes[-1]


def test_a_failing_document_is_told_and_the_others_are_indexed(server: MLCommonsServer) -> None:
    client(server).request("PUT", "/i", body=MAPPINGS)
    (failure,) = send_bulk(ClusterApi(client(server)), "i", [*lines(3), bulk.Line("bad", {"e": {"a": 0.0}})])
    assert failure.id == "bad" and failure.reason.startswith("400: failed to parse; featureValue must be a positive")
    assert len(server.indices["i"].documents) == 3


def test_busy_documents_are_sent_again_and_only_they(server: MLCommonsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    client(server).request("PUT", "/i", body=MAPPINGS)
    index, put = server.indices["i"], server.indices["i"].put
    refused: list[str] = []

    def sometimes(document_id: str, source: dict[str, Any]) -> int:
        if document_id in ("1", "3") and refused.count(document_id) < 2:
            refused.append(document_id)
            raise Refused(429, "rejected_execution_exception", "rejected execution of coordinating operation")
        return put(document_id, source)

    monkeypatch.setattr(index, "put", sometimes)
    assert send_bulk(ClusterApi(client(server)), "i", lines(5), backoff=0.001) == []
    assert index.versions == dict.fromkeys("01234", 1) and len(refused) == 4


def test_a_document_that_stays_refused_is_a_failure(server: MLCommonsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    client(server).request("PUT", "/i", body=MAPPINGS)

    def never(document_id: str, source: dict[str, Any]) -> int:
        raise Refused(429, "rejected_execution_exception", "rejected execution")

    monkeypatch.setattr(server.indices["i"], "put", never)
    failures = send_bulk(ClusterApi(client(server)), "i", lines(2), backoff=0.0001)
    assert [f.reason for f in failures] == ["429: rejected execution"] * 2
    assert len([c for c in server.calls if "_bulk" in c.path]) == bulk.TRIES


def test_a_time_the_cluster_asks_for_is_given_as_seconds_or_as_a_date() -> None:
    cluster = Cluster("http://127.0.0.1:9", credentials=Credentials("none"))
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert cluster._pause(1, "7") == 7 and 25 < cluster._pause(1, soon) <= 30
    assert cluster._pause(1, "Wed, 21 Oct 2015 07:28:00 GMT") == 0
    for nothing_said in (None, "soon", "-3"):
        assert 0.25 <= cluster._pause(1, nothing_said) <= 0.5


def test_a_body_that_a_proxy_refuses_is_sent_in_halves(server: MLCommonsServer) -> None:
    """A proxy with a limit of 1,000 bytes; one document is larger than that alone."""
    client(server).request("PUT", "/i", body=MAPPINGS)
    with fault_proxy(server.url, limit=1000) as proxy:
        api = ClusterApi(Cluster(proxy.url, retries=0))
        (failure,) = send_bulk(api, "i", [*lines(20), bulk.Line("big", {"text": "y" * 3000}), *lines(22)[20:]])
    assert failure.id == "big" and failure.reason.startswith("413: the document alone makes a request of 3,0")
    assert sorted(server.indices["i"].documents) == sorted(str(n) for n in range(22))
    assert set(server.indices["i"].versions.values()) == {1}, "no document is sent twice"
