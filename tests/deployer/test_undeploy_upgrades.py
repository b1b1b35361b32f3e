"""What an undeploy removes after upgrades, and what it keeps."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlcommons_server import Fault, MLCommonsServer, mlcommons_server

from osparse.contracts.bundle import Bundle
from osparse.deployer import deploy, index_documents, rollback, status, undeploy
from osparse.deployer.cluster.client import Answer
from osparse.deployer.mlcommons.api import MLCommons
from osparse.deployer.operate import removal
from osparse.errors import DeploymentConflictError, InputError, OsparseError

from .conftest import client, stands_on


def test_undeploy_keeps_what_is_used(
    server: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle, documents: Path
) -> None:
    cluster = client(server)
    with pytest.raises(InputError, match="no index of the name"):
        undeploy(cluster, "products")
    deploy(other_bundle, cluster, "products")
    alone = server.state()
    server.models.clear()
    for store in (server.chunks, server.runtimes, server.ingest, server.pipelines, server.indices, server.groups):
        store.clear()
    deploy(small_bundle, cluster, "products")
    deploy(small_bundle, cluster, "shop")
    index_documents(cluster, "products", [documents])
    deploy(other_bundle, cluster, "products")
    assert undeploy(cluster, "products").removed == [], "one is kept for a rollback"
    before = server.state()
    planned = undeploy(cluster, "products", keep=0, plan_only=True)
    assert planned.removed == [f"index products-{small_bundle.short} (5 documents)"], "the shop uses the rest"
    assert server.state() == before and "nothing was touched" in str(planned)
    undeploy(cluster, "products", keep=0)
    assert status(cluster, "shop")[0].ready and status(cluster, "products")[0].ready
    server.indices.pop(f"shop-{small_bundle.short}")
    deploy(small_bundle, cluster, "products")
    deploy(other_bundle, cluster, "products")
    result = undeploy(cluster, "products", keep=0)
    assert [what.split()[0] for what in result.removed] == ["ingest", "search", "model", "model", "bundle", "index"]
    for index in server.indices.values():
        index.documents = {i: d for i, d in index.documents.items() if d.get("kind")}
    assert {**server.state(), "indices": 0} == {**alone, "indices": 0}
    assert len(server.indices["osparse-bundles"].documents) == 2, "one part's chunk and its bundle"
    assert stands_on(server) == [f"products-{other_bundle.short}"]


def test_an_undeploy_killed_at_any_call_converges(small_bundle: Bundle, other_bundle: Bundle) -> None:
    def start(server: MLCommonsServer) -> int:
        deploy(small_bundle, client(server), "products")
        deploy(other_bundle, client(server), "products")
        return len(server.calls)

    with mlcommons_server() as whole:
        first = start(whole)
        undeploy(client(whole), "products", keep=0)
        wanted = whole.state()
        deletions = [n for n, call in enumerate(whole.calls[first:], 1) if call.method == "DELETE"]
    assert len(deletions) >= 6
    for k in deletions[::2]:
        with mlcommons_server() as server:
            begun = start(server)
            server.faults = [Fault("drop", calls=range(begun + k, 10_000))]
            with pytest.raises(OsparseError):
                undeploy(client(server, retries=0), "products", keep=0)
            server.faults = []
            undeploy(client(server), "products", keep=0)
            assert server.state() == wanted, f"at call {k}"


def test_an_undeploy_that_left_a_model_goes_on_when_run_again(
    server: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle
) -> None:
    cluster = client(server)
    deploy(other_bundle, cluster, "products")
    alone = server.state()
    deploy(small_bundle, cluster, "products")
    rollback(cluster, "products")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(removal, "WAITS", (0.0,))
        patch.setattr(MLCommons, "delete_model", lambda *_: Answer(500, {"error": "not cleaned up yet"}, {}))
        result = undeploy(cluster, "products", keep=0)
    assert len(result.left) == 3 and f"products-{small_bundle.short}" in server.indices
    assert not undeploy(cluster, "products", keep=0).left
    assert server.state()["models"] == alone["models"] and server.state()["indices"] == alone["indices"]


def test_orphans_are_removed_only_when_asked(
    server: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle
) -> None:
    cluster = client(server)
    deploy(small_bundle, cluster, "products")
    wanted = server.state()
    deploy(other_bundle, cluster, "gone")
    server.indices.pop(f"gone-{other_bundle.short}")
    stranger = {**next(iter(server.models.values())), "name": "x-0123456789ab-encoder", "model_group_id": "theirs"}
    server.models["stranger"] = stranger
    server.chunks["stranger"] = {}
    assert undeploy(cluster, "products").removed == []
    removed = undeploy(cluster, "products", orphans=True).removed
    assert len([what for what in removed if what.startswith("model ")]) == 2
    assert server.models.pop("stranger") and server.state()["models"] == wanted["models"]
    assert len(server.indices["osparse-bundles"].documents) == 2


def test_an_alias_that_is_not_ours_is_left_alone(core: MLCommonsServer, small_bundle: Bundle) -> None:
    client(core).request("PUT", "/stranger", body={"aliases": {"products": {}}})
    with pytest.raises(DeploymentConflictError, match="stands on stranger"):
        deploy(small_bundle, client(core), "products")
    deploy(small_bundle, client(core), "mine")
    core.indices["stranger"].aliases["mine"] = {}
    with pytest.raises(DeploymentConflictError, match="one index"):
        deploy(small_bundle, client(core), "mine")
    with pytest.raises(InputError, match="-previous"):
        deploy(small_bundle, client(core), "mine-previous")
