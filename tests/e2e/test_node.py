"""The embedded node for real: analyzers, rank_features, scripts, and data through stops, kills and restarts."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from osparse.deployer import open_cluster
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.node.home import MODULES, absent_modules, lock_of
from osparse.deployer.node.node import node_down, node_status, node_up
from osparse.deployer.node.process import THAI_TEXT
from osparse.deployer.node.state import NodeStatus
from osparse.errors import NodeError
from osparse.formula.lucene_rounding import score
from osparse.runtime.jars import read_lock

pytestmark = [pytest.mark.e2e, pytest.mark.network]


def call(node: NodeStatus, method: str, path: str, body: Any = None) -> Any:
    """One request; ``body`` is JSON, or a list of objects for newline-delimited JSON."""
    assert node.port is not None
    rows = body if isinstance(body, list) else [] if body is None else [body]
    data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=60)
    try:
        connection.request(method, path, data, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = json.loads(answer.read())
    finally:
        connection.close()
    assert answer.status < 300, content
    return content


@pytest.fixture
def index(node: NodeStatus) -> Iterator[str]:
    yield "node-test"
    call(node, "DELETE", "/node-test*")


def analyze(node: NodeStatus, analyzer: str, text: str) -> list[str]:
    answer = call(node, "POST", "/_analyze", {"analyzer": analyzer, "text": text})
    return [token["token"] for token in answer["tokens"]]


def test_the_fixture_is_a_running_node_with_every_module(node: NodeStatus) -> None:
    assert node_status(node.home) == node
    assert call(node, "GET", "/")["version"]["number"] == node.version
    (told,) = call(node, "GET", "/_nodes/_local/plugins")["nodes"].values()
    modules = MODULES.keys() - absent_modules(read_lock(lock_of(node.version))[0])
    assert {module["name"] for module in told["modules"]} == modules and told["plugins"] == []


def test_analyzers(node: NodeStatus) -> None:
    assert analyze(node, "english", "The foxes were jumping") == ["fox", "were", "jump"]
    nori = "한국어 형태소 분석기가 잘 동작합니다"
    assert analyze(node, "nori", nori) == ["한국", "어", "형태", "소", "분석", "기", "동작"]
    assert analyze(node, "cjk", "한국어 검색") == ["한국", "국어", "검색"]
    assert analyze(node, "thai", THAI_TEXT)  # it loads; how it splits depends on the Java


def test_rank_features_score_as_the_formula_says(node: NodeStatus, index: str) -> None:
    """1,000 documents in one bulk request, 10 queries: hits and scores against osparse.formula.lucene_rounding.score."""
    random = np.random.default_rng(7)

    def weighted(n: int) -> dict[str, float]:
        tokens = random.choice(300, size=n, replace=False)
        return {f"토큰{t}": float(w) for t, w in zip(tokens, random.uniform(0.01, 3, n), strict=True)}

    documents = {str(i): weighted(20) for i in range(1000)}
    call(node, "PUT", f"/{index}", {"mappings": {"properties": {"e": {"type": "rank_features"}}}})
    lines = [row for i, weights in documents.items() for row in ({"index": {"_id": i}}, {"e": weights})]
    assert call(node, "POST", f"/{index}/_bulk?refresh=true", lines)["errors"] is False
    for _ in range(10):
        query = weighted(15)
        clauses = [
            {"rank_feature": {"field": f"e.{token}", "boost": weight, "linear": {}}} for token, weight in query.items()
        ]
        body = {"size": 1000, "_source": False, "query": {"bool": {"should": clauses}}}
        hits = call(node, "POST", f"/{index}/_search", body)["hits"]["hits"]
        expected = {i: s for i, document in documents.items() if (s := score(query, document)) > 0}
        assert {hit["_id"] for hit in hits} == set(expected)
        got = [hit["_score"] for hit in hits]
        np.testing.assert_allclose(got, [expected[hit["_id"]] for hit in hits], rtol=1e-6)


def test_scripts_pipelines_and_reindex(node: NodeStatus, index: str) -> None:
    script = {"script": {"source": "ctx.n = ctx.n * 2"}}
    call(
        node, "PUT", "/_ingest/pipeline/node-test", {"processors": [script, {"set": {"field": "made", "value": "yes"}}]}
    )
    call(node, "PUT", f"/{index}/_doc/1?refresh=true&pipeline=node-test", {"n": 21})
    call(node, "DELETE", "/_ingest/pipeline/node-test")
    call(node, "POST", "/_reindex?refresh=true", {"source": {"index": index}, "dest": {"index": f"{index}-copy"}})
    rename = {"rename_field": {"field": "n", "target_field": "m"}}
    body = {"query": {"match_all": {}}, "search_pipeline": {"response_processors": [rename]}}
    (hit,) = call(node, "POST", f"/{index}-copy/_search", body)["hits"]["hits"]
    assert hit["_source"] == {"m": 42, "made": "yes"}


def gone(pid: int | None) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_a_second_node_and_its_data_through_kill_and_stop(node: NodeStatus, tmp_path: Path) -> None:
    """Side by side with the session's node, in a home whose path is not ASCII; by the real command where it can be.

    What marks the content of an index follows each write, and outlives a kill and a stop.
    """
    home = tmp_path / "두 번째 node"
    command = [sys.executable, "-m", "osparse", "--json", "node"]

    def written(status: NodeStatus) -> dict[str, int]:
        assert call(status, "GET", "/kept/_doc/1")["_source"] == {"text": "남는다"}
        assert call(status, "GET", "/kept/_count")["count"] == 1
        return dict(ClusterApi(open_cluster(str(status.url))).writes("marked"))

    try:
        second = node_up(home, port=0)
        assert second.port != node.port and call(second, "GET", "/_cluster/health")["number_of_nodes"] == 1
        call(second, "PUT", "/kept", {"settings": {"number_of_replicas": 0}})
        call(second, "PUT", "/kept/_doc/1?refresh=true", {"text": "남는다"})
        call(second, "PUT", "/marked", {"settings": {"index.number_of_shards": 2, "number_of_replicas": 0}})
        for expected, texts in ((9, "xxxxxxxxx"), (10, "y")):
            lines = [row for n, text in enumerate(texts) for row in ({"index": {"_id": str(n)}}, {"text": text})]
            call(second, "POST", "/marked/_bulk", lines)
            mark = written(second)
            assert [*mark.values()] == [expected]
        with pytest.raises(NodeError, match=f"port {second.port} on 127.0.0.1 is in use"):
            node_up(tmp_path / "third", port=second.port or 0)

        assert second.pid is not None
        os.kill(second.pid, signal.SIGKILL)
        while node_status(home).state == "running":
            time.sleep(0.01)
        crashed = node_status(home)
        assert crashed.state == "crashed" and "[INFO ]" in str(crashed.error)

        up = [*command, "up", "--home", str(home), "--port", "0"]
        third = subprocess.run(up, capture_output=True, text=True, check=True)
        status = node_status(home)
        assert json.loads(third.stdout) == status.to_json() and node_up(home, port=0) == status
        assert written(status) == mark
        subprocess.run([*command, "down", "--home", str(home)], capture_output=True, check=True)
        assert gone(status.pid)

        fourth = node_up(home, port=0)
        assert written(fourth) == mark
        assert node_down(home).state == "stopped" and gone(fourth.pid)
    finally:
        node_down(home)
    assert node_status(node.home).state == "running"


def test_two_nodes_cannot_share_one_home(node: NodeStatus) -> None:
    """Also not behind the command's back: the process refuses, and the first one lives on."""
    arguments = ["--home", str(node.home), "--port", "0", "--heap", "512m", "--libjvm", "none"]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "osparse.deployer.node.process",
            *arguments,
            "--java-name",
            "x",
            "--opensearch",
            "3.8.0",
        ],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 3 and "another process runs the node" in done.stdout
    assert node_status(node.home) == node
