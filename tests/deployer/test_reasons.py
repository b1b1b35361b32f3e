"""The reason decides what an error says and whether a request is sent again, not the status alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from local_http import QuietHandler, serving
from mlcommons_refusals import Refused
from mlcommons_server import MLCommonsServer

from osparse.deployer import Cluster
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.client import reason_of
from osparse.deployer.load import bulk
from osparse.deployer.load.bulk import Failure, FailureLog, send_bulk
from osparse.deployer.load.load import IndexResult
from osparse.errors import AccessError, ClusterError, InputError

from .conftest import client

FLOOD = "index [i] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark, index has read-only-allow-delete block];"


@contextmanager
def answering(status: int, kind: str, reason: str) -> Iterator[tuple[Cluster, list[str]]]:
    calls: list[str] = []
    error = {"type": kind, "reason": reason}
    body = json.dumps({"error": {"root_cause": [error], **error}, "status": status}).encode()

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            calls.append(self.path)
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_PUT = do_GET

    with serving(Handler) as url:
        yield Cluster(url, retries=3, backoff=0.001), calls


@pytest.mark.parametrize(
    ("status", "kind", "reason", "said"),
    [
        (403, "cluster_block_exception", "blocked by: [FORBIDDEN/6/cluster read-only (api)];", "whole cluster is read-only"),
        (403, "cluster_block_exception", "index [i] blocked by: [FORBIDDEN/8/index write (api)];", "the index is blocked"),
        (403, "cluster_block_exception", "index [i] blocked by: [FORBIDDEN/5/index read-only (api)];", "index is blocked"),
        (403, "cluster_block_exception", "index [i] blocked by: [FORBIDDEN/12/index read-only / allow delete (api)];", "disk ran full"),
        (429, "cluster_block_exception", FLOOD, "free disk space"),
        (400, "index_closed_exception", "closed index [i]", "osparse status says how it is opened"),
        (400, "illegal_argument_exception", "Model not ready yet. Please deploy the model first.", "osparse status --heal"),
        (404, "status_exception", "Failed to find model", "osparse status --heal"),
    ],
)  # fmt: skip
def test_a_known_reason_is_told_with_what_to_do_and_not_tried_again(
    status: int, kind: str, reason: str, said: str
) -> None:
    with answering(status, kind, reason) as (cluster, calls):
        with pytest.raises(ClusterError, match=said) as raised:
            ClusterApi(cluster).search("i", {})
        assert len(calls) == 1 and not isinstance(raised.value, AccessError) and reason in str(raised.value)


@pytest.mark.parametrize(
    "reason", ["no permissions for [indices:data/write/bulk] and User [name=u]", "Failed to find model group"]
)
def test_an_unknown_reason_goes_by_the_status(reason: str) -> None:
    with answering(403, "security_exception", reason) as (cluster, _):
        with pytest.raises(AccessError, match="does not let these credentials"):
            cluster.request("GET", "/i")


def test_serverless_without_its_signature_says_how() -> None:
    with answering(404, "no_handler", "no handler found for uri [/]") as (cluster, _):
        with pytest.raises(ClusterError, match="for a Serverless collection pass `aws_region` and `aws_service=aoss`"):
            ClusterApi(cluster).root()


def test_a_full_disk_is_not_waited_for(server: MLCommonsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    client(server).request("PUT", "/i", body={})

    def never(document_id: str, source: dict[str, Any]) -> int:
        raise Refused(429, "cluster_block_exception", FLOOD)

    monkeypatch.setattr(server.indices["i"], "put", never)
    failures = send_bulk(ClusterApi(client(server)), "i", [bulk.Line("a", {"text": "x"})], backoff=5)
    assert [f.id for f in failures] == ["a"] and "free disk space" in failures[0].reason
    assert len([call for call in server.calls if "_bulk" in call.path]) == 1


@pytest.mark.parametrize("there", [False, True])
def test_the_failures_file_is_tried_and_left_as_it_was(there: bool, tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "failed.jsonl"
    if there:
        path.parent.mkdir(parents=True)
        path.write_text("old")
    before = path.stat().st_mtime_ns if there else None
    FailureLog(path)
    assert path.exists() == path.parent.exists() == (tmp_path / "new").exists() == there
    assert not there or (path.read_text() == "old" and path.stat().st_mtime_ns == before)


def test_a_failures_file_that_cannot_be_is_refused_before_anything(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "dangling").symlink_to(tmp_path / "none" / "x")
    wrong = [
        tmp_path,
        tmp_path / "file" / "x",
        Path("/proc/none/failed.jsonl"),
        tmp_path / ("x" * 300),
        tmp_path / "dangling",
    ]
    for path in wrong:
        with pytest.raises(InputError, match="(is a directory|cannot be made: .+); `failures` must be a file"):
            FailureLog(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dangling", "file"]
    null = FailureLog(Path("/dev/null"))
    null.add([Failure("a", "x")])
    null.close()


def test_equal_complaints_are_counted(tmp_path: Path) -> None:
    failed = FailureLog(tmp_path / "f.jsonl")
    said = "id must be a text or a whole number, found None; the row has body, sku (name it with `id_field`)"
    failed.add([Failure(f"d.jsonl:{n}", f"{tmp_path}/d.jsonl:{n}: {said}") for n in range(1, 2001)])
    failed.add([Failure(f"t row {n}", f"t.parquet row {n}: other") for n in range(5)])
    failed.add([Failure(str(n), f"400: kind {n}") for n in range(100)])
    failed.close()
    assert failed.count == 2105 and len(failed.complaints) == FailureLog.KINDS
    assert failed.complaints[said] == 2000 and failed.complaints["other"] == 5
    assert len((tmp_path / "f.jsonl").read_text().splitlines()) == 2105, "the file has every one"
    result = IndexResult("i", 0, 0, 2105, 1.0, "f.jsonl", failed.first, dict(failed.complaints))
    lines = str(result).splitlines()
    assert f"  2,000 documents: {said}" in lines and "  5 documents: other" in lines and len(lines) == 1 + 3 + 2 + 1


def test_a_cause_that_only_repeats_the_end_is_said_once() -> None:
    cause = {"type": "illegal_argument_exception", "reason": "Query tokens should be valid integer"}
    error = {
        "type": "query_shard_exception",
        "reason": f"failed to create query: {cause['reason']}",
        "caused_by": cause,
    }
    assert reason_of({"error": error}) == "failed to create query: Query tokens should be valid integer"
    other = {"error": {"reason": "failed to parse", "caused_by": {"reason": "a weight", "caused_by": {"reason": "0"}}}}
    assert reason_of(other) == "failed to parse; a weight; 0"
