"""Loading, and what marks the content of an index, on the real node."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from osparse.deployer import Cluster, open_cluster
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.load.bulk import Line, send_bulk
from osparse.deployer.node.node import node_down, node_up

pytestmark = [pytest.mark.e2e, pytest.mark.network]


@pytest.fixture
def cluster(node: Any) -> Iterator[Cluster]:
    cluster = open_cluster(node.url)
    yield cluster
    cluster.request("DELETE", "/piped", allow=(404,))
    cluster.request("DELETE", "/_ingest/pipeline/refuse", allow=(404,))


def test_a_line_can_pass_by_the_default_pipeline(cluster: Cluster) -> None:
    refuse = {"processors": [{"fail": {"message": "no blank text"}}]}
    cluster.request("PUT", "/_ingest/pipeline/refuse", body=refuse)
    cluster.request("PUT", "/piped", body={"settings": {"index.default_pipeline": "refuse"}})
    lines = [Line("through", {"text": "x"}), Line("past", {"text": ""}, ingest=False)]
    (failure,) = send_bulk(ClusterApi(cluster), "piped", lines)
    assert failure.id == "through" and "no blank text" in failure.reason
    assert ClusterApi(cluster).get_document("piped", "past") == {"text": ""}


def test_the_mark_of_the_content_outlives_a_restart_and_follows_each_write(tmp_path: Path) -> None:
    home = tmp_path / "home"
    try:
        api = ClusterApi(open_cluster(str(node_up(home, port=0, tied=True).url)))
        api.cluster.request("PUT", "/marked", body={"settings": {"index.number_of_shards": 2}})
        send_bulk(api, "marked", [Line(str(n), {"text": "x"}) for n in range(9)])
        first = api.writes("marked")
        send_bulk(api, "marked", [Line("1", {"text": "y"})])
        second = api.writes("marked")
        assert [list(mark.values()) for mark in (first, second)] == [[9], [10]] and first.keys() == second.keys()
        node_down(home)
        assert ClusterApi(open_cluster(str(node_up(home, port=0, tied=True).url))).writes("marked") == second
    finally:
        node_down(home)
