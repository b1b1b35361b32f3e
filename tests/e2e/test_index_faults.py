"""A load into the real node through a network that fails, with deletes, and the refresh interval it leaves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fault_proxy import Trouble, at_random, fault_proxy
from fault_trials import NodeGround
from lookup_bundle import TEXTS, make_lookup_bundle

from osparse.contracts.bundle import Bundle
from osparse.deployer import Cluster, deploy, index_documents, load_rows
from osparse.deployer.encode.encoders import FEW
from osparse.deployer.load import bulk, refresh
from osparse.deployer.load.documents import DocumentRow, Row

pytestmark = [pytest.mark.e2e, pytest.mark.network]
NAME = "faulted"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_lookup_bundle(tmp_path_factory.mktemp("small"))


@pytest.fixture
def cluster(node: Any, small: Bundle, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.setattr(bulk, "BACKOFF", 0.02)
    cluster = Cluster(node.url)
    deploy(small, cluster, NAME)
    yield cluster
    cluster.request("DELETE", f"/{NAME}-{small.short}", allow=(404,))


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def contents(cluster: Cluster, small: Bundle) -> Any:
    return NodeGround(cluster.url).state()[f"{NAME}-{small.short}"]["documents"]


def test_a_bad_network_leaves_what_a_good_one_leaves(cluster: Cluster, small: Bundle, tmp_path: Path) -> None:
    """To the last byte of every document, though one load used processes and small batches and the other did not."""
    rows: list[dict[str, object]] = [{"id": f"d{n}", "text": f"{TEXTS[n % 4]} {n}"} for n in range(FEW)]
    path = write(tmp_path / "d.jsonl", rows)
    index_documents(cluster, NAME, [path])
    wanted = contents(cluster, small)
    assert len(wanted) == FEW
    cluster.request("POST", f"/{NAME}/_delete_by_query", params={"refresh": "true"}, body={"query": {"match_all": {}}})
    troubles = [Trouble("status", 429, "0"), Trouble("status", 503), Trouble("reset"), Trouble("drop"), Trouble("lose")]
    with fault_proxy(cluster.url, at_random(0.25, troubles, 5, "_bulk|_mget|_refresh")) as proxy:
        load = index_documents(Cluster(proxy.url, backoff=0.02), NAME, [path], batch=16, workers=2)
    assert (load.indexed, load.failed) == (FEW, 0) and len(proxy.struck) >= 5
    assert contents(cluster, small) == wanted


def test_deletes_and_edits(cluster: Cluster, small: Bundle, tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"id": f"d{n}", "text": "growing pears"} for n in range(6)]
    path = write(tmp_path / "d.jsonl", rows)
    assert index_documents(cluster, NAME, [path]).indexed == 6
    rows[1] = {"id": "d1", "text": "edited"}
    rows[2] = {"id": "d2", "_op": "delete"}
    listed = tmp_path / "ids"
    listed.write_text("d3\nnot there\n", encoding="utf-8")
    load = index_documents(cluster, NAME, [write(path, rows)], delete=[listed])
    assert (load.encoded, load.indexed, load.deleted, load.unchanged, load.failed) == (1, 1, 2, 4, 0)
    assert load.repeated == 1, "d3, whose later row deletes it"
    assert set(contents(cluster, small)) == {"d0", "d1", "d4", "d5"}


def test_the_refresh_interval_comes_back(cluster: Cluster, small: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refresh, "MANY", 1)
    index, seen = f"{NAME}-{small.short}", list[object]()

    def settings() -> dict[str, str]:
        found = cluster.request("GET", f"/{index}/_settings", params={"flat_settings": "true"}).body
        return dict(found[index]["settings"])

    def watched() -> Iterator[Row]:
        seen.append(settings().get("index.refresh_interval"))
        yield DocumentRow("a", {"text": "x"})

    mapping = cluster.request("GET", f"/{index}/_mapping").body
    load_rows(cluster, NAME, watched(), 1)
    assert "index.refresh_interval" not in settings()
    cluster.request("PUT", f"/{index}/_settings", body={"index.refresh_interval": "7s"})
    load_rows(cluster, NAME, watched(), 1)
    assert settings()["index.refresh_interval"] == "7s" and seen == ["30s", "30s"]
    assert cluster.request("GET", f"/{index}/_mapping").body == mapping
