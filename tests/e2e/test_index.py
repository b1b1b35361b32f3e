"""Loading on the real node."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from osparse.deployer import Cluster, open_cluster
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.load.bulk import Line, send_bulk

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
