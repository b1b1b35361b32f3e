"""What is sent again after an answer that was lost, and what must not be: a page, a registration, an alias."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlcommons_server import Fault, MLCommonsServer

import osparse
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.mlcommons.api import MLCommons
from osparse.errors import ClusterBusyError, ClusterUnreachableError
from osparse.retrieval.systems import cluster_run

from .conftest import client

COUNT = 10
SENT_ONCE = {
    "rest/documents.py": ["search_once", "_next_page"],
    "rest/indices.py": ["update_aliases", "clone_index"],
    "mlcommons/api.py": ["register_group", "_refusable", "_refusable"],
    "mlcommons/remote_calls.py": ["create_connector", "register"],
}
"""Methods with a POST that changes something each time it is sent."""
ML_COMMONS = "mlcommons/api.py", "mlcommons/remote_calls.py"


@pytest.fixture
def api(server: MLCommonsServer) -> ClusterApi:
    cluster = client(server)
    cluster.request("PUT", "/i", body={"mappings": {"properties": {"e": {"type": "rank_features"}}}})
    for number in range(COUNT):
        cluster.request("PUT", f"/i/_doc/{number}", body={"text": f"t{number}", "e": {"a": 1.0, "b": 2.0}})
    return ClusterApi(cluster)


def test_pages_hold_every_document_once(api: ClusterApi, server: MLCommonsServer) -> None:
    read = [hit for hits in api.pages("i", 4, {"includes": ["text"]}) for hit in hits]
    assert [(hit["_id"], hit["_source"]) for hit in read] == [(str(n), {"text": f"t{n}"}) for n in range(COUNT)]
    assert server.scrolls == {}, "the scroll is ended"


@pytest.mark.parametrize("times", [1, 2])
def test_a_lost_page_is_an_error_and_not_the_end(
    api: ClusterApi, server: MLCommonsServer, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.faults = [Fault("lose", matching="POST /_search/scroll", times=times)]
    with pytest.raises(ClusterUnreachableError):
        list(api.pages("i", 4, {"includes": ["text"]}))
    monkeypatch.setattr(cluster_run, "PAGE", 4)
    server.faults = [Fault("lose", matching="POST /_search/scroll", times=times)]
    with pytest.raises(ClusterUnreachableError):
        cluster_run.non_zeros(api.cluster, "i", "e")
    server.faults = []
    assert cluster_run.non_zeros(api.cluster, "i", "e") == {"mean": 2.0, "max": 2.0, "documents": COUNT}


def test_a_page_that_something_else_took_is_missed(
    api: ClusterApi, server: MLCommonsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that sends a request again by itself: no call fails, and a page never comes."""
    page = server._page

    def twice(name: str) -> Any:
        first = page(name)
        return page(name) if server.calls[-1].path == "/_search/scroll" else first

    monkeypatch.setattr(server, "_page", twice)
    with pytest.raises(ClusterUnreachableError, match="gave 6 of the 10 documents of i: a page was lost"):
        list(api.pages("i", 4, {"includes": ["text"]}))


def test_a_shard_that_does_not_answer_is_not_passed_over(
    api: ClusterApi, server: MLCommonsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = server._page
    failure = {"shard": 0, "reason": {"type": "search_context_missing_exception", "reason": "No search context"}}
    monkeypatch.setattr(server, "_page", lambda name: {**page(name), "_shards": {"failed": 1, "failures": [failure]}})
    with pytest.raises(osparse.errors.ClusterError, match="documents are missing: No search context"):
        list(api.pages("i", 4, {"includes": ["text"]}))


@pytest.mark.parametrize("call", ["pages", "count", "count of a query", "search"])
def test_a_shard_without_a_node_is_not_passed_over(
    api: ClusterApi, server: MLCommonsServer, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """It is no failure: the answer only has fewer successful shards than there are, and half of the documents."""
    shards = {"_shards": {"total": 2, "successful": 1, "skipped": 0, "failed": 0}}
    for name in ("_page", "count", "search"):
        plain = getattr(server, name)
        monkeypatch.setattr(server, name, lambda request, plain=plain: {**plain(request), **shards})
    calls: dict[str, Callable[[], Any]] = {
        "pages": lambda: list(api.pages("i", 4, {"includes": ["text"]})),
        "count": lambda: api.count("i"),
        "count of a query": lambda: api.count("i", {"match_all": {}}),
        "search": lambda: api.search("i", {}, whole=True),
    }
    with pytest.raises(osparse.errors.ClusterError, match=r"^i: 1 of 2 shards answered; .*_cluster/allocation/explain"):
        calls[call]()
    assert api.search("i", {})["hits"]["hits"], "a search that a user asks may have part of the answer"


def test_what_only_reads_is_sent_again(api: ClusterApi, server: MLCommonsServer) -> None:
    calls: dict[str, Callable[[], Any]] = {
        "_search": lambda: api.search("i", {"query": {"match_all": {}}})["hits"]["total"]["value"],
        "_mget": lambda: len(api.present("i", ["0", "1"])),
        "_count": lambda: api.count("i"),
        "_analyze": lambda: api.has_analyzer("english"),
        "_refresh": lambda: api.refresh("i"),
        "models/_search": lambda: MLCommons(api.cluster).all_models(),
    }
    for path, call in calls.items():
        wanted = call()
        server.faults = [Fault("lose", matching=f"{path}$", times=2)]
        assert call() == wanted and server.faults[0].struck == 2, path


@pytest.mark.parametrize("kind", ["lose", "status"])
def test_a_post_is_sent_once_unless_it_is_said_to_be_repeatable(
    api: ClusterApi, server: MLCommonsServer, kind: str
) -> None:
    server.faults, before = [Fault(kind, matching="POST /_aliases", times=9)], len(server.calls)
    with pytest.raises((ClusterUnreachableError, ClusterBusyError)):
        api.update_aliases({"actions": []})
    assert len(server.calls) == before + 1
    server.faults, before = [Fault("status", matching="POST /_aliases", times=1, status=429)], len(server.calls)
    api.update_aliases({"actions": []})
    assert len(server.calls) == before + 2, "429 says that nothing was begun"


def test_every_request_goes_through_a_method_of_the_api() -> None:
    """A call that goes round ClusterApi decides by itself whether it may be repeated: there is none."""
    posts: dict[str, list[str]] = {}
    for room in ("deployer", "retrieval", "cli"):
        for path in sorted((Path(osparse.__file__).parent / room).resolve().rglob("*.py")):
            place = f"{path.parent.name}/{path.name}"
            for method, call in _requests(ast.parse(path.read_text(encoding="utf-8"))):
                if place == "preflight/requests.py":  # dry runs, which change nothing
                    continue
                assert path.parent.name == "rest" or place in ML_COMMONS, f"{path}:{call.lineno}"
                if call.args and ast.literal_eval(call.args[0]) == "POST" and not _repeatable(call):
                    posts.setdefault(place, []).append(method)
    assert posts == SENT_ONCE


def _requests(tree: ast.Module) -> list[tuple[str, ast.Call]]:
    """(function, call) of every ``cluster.request(...)``, ``request(...)`` or partial of it."""
    found = []
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
            name = ast.unparse(call.func)
            if name == "request" or name.endswith("cluster.request"):
                found.append((function.name, call))
    return found


def _repeatable(call: ast.Call) -> bool:
    return any(key.arg == "repeatable" and ast.literal_eval(key.value) for key in call.keywords)
