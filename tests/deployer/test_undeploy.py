"""What undeploy may remove: nothing that another name, alias, index or pipeline uses, whatever state it is in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from mlcommons_http import Request
from mlcommons_server import Fault, MLCommonsServer

from osparse.cli.main import main
from osparse.contracts.bundle import Bundle
from osparse.deployer import Serving, UndeployResult, Upgrade, deploy, heal, rollback, status, undeploy
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.operate import removal
from osparse.errors import ClusterError, DeploymentConflictError, InputError, OsparseError

from .conftest import client


def upgraded(server: MLCommonsServer, *bundles: Bundle, name: str = "products") -> str:
    """Deploy the bundles one after the other; the index of the first."""
    for bundle in bundles:
        deploy(bundle, client(server), name)
    return f"{name}-{bundles[0].short}"


def close(server: MLCommonsServer, index: str) -> None:
    client(server).request("POST", f"/{index}/_close")


def refused(result: UndeployResult, *words: str) -> bool:
    return not result.removed and len(result.left) == 1 and all(word in result.left[0] for word in words)


@pytest.mark.parametrize("hidden", [False, True])
def test_a_closed_index_uses_its_bundle(
    server: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle, hidden: bool
) -> None:
    shop = upgraded(server, small_bundle, name="shop")
    old = upgraded(server, small_bundle, other_bundle)
    close(server, shop)
    if hidden:
        server.indices[shop].settings["hidden"] = True
    assert undeploy(client(server), "products", keep=0).removed == [f"index {old} (0 documents)"]
    client(server).request("POST", f"/{shop}/_open")
    assert all(one.ready for one in status(client(server)))


def test_a_closed_index_of_the_name_is_seen_and_removed(
    server: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle
) -> None:
    old = upgraded(server, small_bundle, other_bundle)
    close(server, old)
    assert f"index {old} (closed)" in undeploy(client(server), "products", keep=0, plan_only=True).removed
    assert undeploy(client(server), "products", keep=0).removed and old not in server.indices


def test_status_shows_a_closed_index(
    server: MLCommonsServer, small_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    upgraded(server, small_bundle, name="shop")
    index = upgraded(server, small_bundle)
    close(server, index)
    with pytest.raises(SystemExit, match="1"):
        main(["status", "--cluster", server.url])
    shown = capsys.readouterr().out
    assert f"products -> {index}: NOT READY" in shown and "feature names, closed" in shown
    assert shown.count("problem:") == 1 and f"POST /{index}/_open" in shown and "shop" in shown
    assert "restart" not in shown


def test_opening_a_closed_index_of_sparse_vectors_may_take_a_restart(
    server: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle
) -> None:
    deploy(small_bundle, client(server), "products", serving=Serving(field="sparse_vector"))
    index = f"products-{small_bundle.short}"
    deploy(other_bundle, client(server), "products")
    close(server, index)
    restart = f"POST /{index}/_open; where its shards do not start afterwards.*restart the nodes"
    with pytest.raises(ClusterError, match=restart):
        rollback(client(server), "products")
    with pytest.raises(ClusterError, match=restart):
        ClusterApi(client(server)).count(index)


def test_one_broken_index_does_not_end_the_survey(
    server: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deleted search pipeline makes every count and search of its index fail; so does any other damage."""
    upgraded(server, other_bundle, name="shop")
    index = upgraded(server, small_bundle)
    client(server).request("PUT", f"/{index}/_doc/1?refresh=true", body={"text": "x"})
    del server.pipelines[server.indices[index].settings["search.default_pipeline"]]
    shop, products = sorted(status(client(server)), key=lambda one: one.aliases, reverse=True)
    assert shop.ready and not products.ready and products.documents == 1
    assert len(products.problems) == 1 and "search pipeline" in products.problems[0]
    plain = server.store_stats

    def damaged(request: Request) -> Any:
        return (500, {"error": "shard failure", "status": 500}) if request.parts[0] == index else plain(request)

    monkeypatch.setattr(server, "store_stats", damaged)
    ready = {one.index: one.ready for one in status(client(server))}
    assert ready == {index: False, f"shop-{other_bundle.short}": True}


def lose_shards(server: MLCommonsServer, monkeypatch: pytest.MonkeyPatch, index: str) -> None:
    """Every count and search of the index fails as on a cluster where all its shards are without a node."""
    error = {"type": "search_phase_execution_exception", "reason": "all shards failed", "phase": "query",
             "grouped": True, "root_cause": [], "failed_shards": []}  # fmt: skip
    for name in ("count", "search"):
        plain = getattr(server, name)

        def lost(request: Request, plain: Callable[[Request], Any] = plain) -> Any:
            return (503, {"error": error, "status": 503}) if request.parts[0] == index else plain(request)

        monkeypatch.setattr(server, name, lost)


def test_an_index_without_shards_does_not_end_the_survey(
    server: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgraded(server, other_bundle, name="shop")
    lost = upgraded(server, small_bundle)
    lose_shards(server, monkeypatch, lost)
    found = {one.index: one for one in status(client(server, retries=1))}
    assert found[f"shop-{other_bundle.short}"].ready and not found[lost].ready
    (problem,) = found[lost].problems
    assert "all shards failed" in problem and "_cluster/allocation/explain" in problem and "busy" not in problem
    assert heal(client(server, retries=1)) == []


def test_an_index_without_shards_can_be_undeployed(
    server: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = upgraded(server, small_bundle, other_bundle)
    lose_shards(server, monkeypatch, old)
    removed = undeploy(client(server, retries=1), "products", keep=0).removed
    assert f"index {old} (unreadable)" in removed and old not in server.indices


def test_an_undeploy_that_stopped_anywhere_leaves_a_cluster_that_can_be_read(
    small_bundle: Bundle, other_bundle: Bundle, server: MLCommonsServer
) -> None:
    """Every deletion in turn is the first that fails: status and the next undeploy work all the same."""
    upgraded(server, small_bundle, other_bundle)
    done = allowed = 0
    plain = server.answer

    def failing(method: str, *rest: Any) -> Any:
        nonlocal done
        done += method == "DELETE"
        return (500, {"error": "out of order"}) if method == "DELETE" and done > allowed else plain(method, *rest)

    server.answer = failing  # type: ignore[method-assign, assignment]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(removal, "WAITS", (0.0,))
        for limit in range(1, 10):
            done, allowed = 0, limit
            try:
                left = undeploy(client(server, retries=0), "products", keep=0).left
            except OsparseError:
                left = ["?"]
            assert {one.index for one in status(client(server)) if one.ready} >= {f"products-{other_bundle.short}"}
            if not left:
                break
    assert f"products-{small_bundle.short}" not in server.indices and allowed > 1
    assert not [name for name in (*server.ingest, *server.pipelines) if small_bundle.short in name]


def test_no_index_ever_names_a_pipeline_that_is_deleted(
    server: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgraded(server, small_bundle, other_bundle)
    plain, named = server._stored, []

    def stored(store: Any, request: Request) -> Any:
        if request.method == "DELETE":
            named.append([i.name for i in server.indices.values() if request.parts[0] in i.settings.values()])
        return plain(store, request)

    monkeypatch.setattr(server, "_stored", stored)
    undeploy(client(server), "products", keep=0)
    assert named == [[], []]


def test_an_index_another_alias_stands_on_is_in_use(
    server: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle
) -> None:
    old = upgraded(server, small_bundle, other_bundle)
    client(server).request("POST", "/_aliases", body={"actions": [{"add": {"index": old, "alias": "shop-live"}}]})
    before = server.state()
    planned = undeploy(client(server), "products", keep=0, plan_only=True)
    assert refused(planned, old, "alias shop-live") and "shop-live" in str(planned)
    assert refused(undeploy(client(server), "products", keep=0), old, "alias shop-live")
    assert server.state() == before
    with pytest.raises(SystemExit, match="1"):
        main(["undeploy", "--cluster", server.url, "--index", "products", "--keep", "0"])


def ingest_by_model(server: MLCommonsServer, pipeline: str, model: str) -> None:
    processors = [{"sparse_encoding": {"model_id": model, "field_map": {"a": "b"}}}]
    client(server).request("PUT", "/_ingest/pipeline/theirs", body={"processors": processors})


def enricher_by_model(server: MLCommonsServer, pipeline: str, model: str) -> None:
    processors = [{"neural_query_enricher": {"default_model_id": model}}]
    client(server).request("PUT", "/_search/pipeline/theirs", body={"request_processors": processors})


def index_by_pipeline(server: MLCommonsServer, pipeline: str, model: str) -> None:
    client(server).request("PUT", "/theirs", body={"settings": {"index": {"default_pipeline": pipeline}}})
    close(server, "theirs")


def pipeline_by_pipeline(server: MLCommonsServer, pipeline: str, model: str) -> None:
    server.ingest["theirs"] = {"processors": [{"pipeline": {"name": pipeline}}]}


def field_by_model(server: MLCommonsServer, pipeline: str, model: str) -> None:
    mappings = {"properties": {"a": {"type": "semantic", "model_id": model}}}
    client(server).request("PUT", "/theirs", body={"mappings": mappings})


USES = (ingest_by_model, enricher_by_model, field_by_model, index_by_pipeline, pipeline_by_pipeline)


@pytest.mark.parametrize("use", USES)
def test_what_something_else_names_is_in_use(
    server: MLCommonsServer,
    small_bundle: Bundle,
    other_bundle: Bundle,
    use: Callable[[MLCommonsServer, str, str], None],
) -> None:
    old = upgraded(server, small_bundle, other_bundle)
    model = next(i for i, found in server.models.items() if small_bundle.short in found["name"])
    use(server, server.indices[old].settings["default_pipeline"], model)
    before = server.state()
    assert refused(undeploy(client(server), "products", keep=0), old, "theirs names its")
    assert server.state() == before
    for store in (server.ingest, server.pipelines, server.indices):
        store.pop("theirs", None)
    assert undeploy(client(server), "products", keep=0).removed and old not in server.indices


@pytest.mark.parametrize("carry", [False, True])
def test_a_switch_says_what_becomes_of_other_aliases(
    core: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle, carry: bool
) -> None:
    old = upgraded(core, small_bundle)
    new = f"products-{other_bundle.short}"
    only = {"filter": {"term": {"lang": "ko"}}, "index_routing": "1"}
    live = {"add": {"index": old, "alias": "shop-live", **only}}
    client(core).request("POST", "/_aliases", body={"actions": [live]})
    planned = deploy(other_bundle, client(core), "products", plan_only=True, upgrade=Upgrade(carry_aliases=carry))
    result = deploy(other_bundle, client(core), "products", upgrade=Upgrade(carry_aliases=carry))
    for shown in (str(planned), str(result)):
        assert (f"stay on {old}: shop-live" in shown) is not carry and ("move along: shop-live" in shown) is carry
    assert core.indices[new if carry else old].aliases["shop-live"] == only
    assert ("shop-live" in core.indices[old].aliases) is not carry
    back = rollback(client(core), "products", carry_aliases=carry)
    assert core.indices[old].aliases["shop-live"] == only and ("shop-live" in str(back)) is carry
    assert "shop-live" not in core.indices[new].aliases


def test_a_bundle_of_the_same_content_and_another_name_has_models_of_its_own(
    server: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle
) -> None:
    """Its index keeps the stored parts in use, and nothing else of the removed bundle."""
    named_otherwise = replace(small_bundle, name="theirs")
    deploy(named_otherwise, client(server), "shop")
    upgraded(server, small_bundle, other_bundle)
    record = dict(server.indices["osparse-bundles"].documents[small_bundle.fingerprint])
    assert record["bundle"] == "theirs"
    removed = undeploy(client(server), "products", keep=0).removed
    assert [what.split()[0] for what in removed] == ["ingest", "search", "model", "model", "index"]
    assert not [m for m in server.models.values() if m["name"].startswith(f"tiny-{small_bundle.short}")]
    assert all(one.ready for one in status(client(server)))


@pytest.mark.parametrize("plugins", ["ml-commons", "client"])
def test_the_same_model_under_another_name_is_told_apart(
    plugins: str, small_bundle: Bundle, request: pytest.FixtureRequest
) -> None:
    running = request.getfixturevalue("server" if plugins == "ml-commons" else "core")
    deploy(small_bundle, client(running), "products")
    bundles = running.indices["osparse-bundles"].documents
    for part in [i for i, source in bundles.items() if source["kind"] == "chunk"][:1]:
        del bundles[part]
    before, record = running.state(), dict(bundles[small_bundle.fingerprint])
    with pytest.raises(DeploymentConflictError, match="serves the same model already, as bundle tiny"):
        deploy(replace(small_bundle, name="theirs"), client(running), "products")
    assert running.state() == before
    deploy(replace(small_bundle, name="theirs"), client(running), "shop")
    assert bundles[small_bundle.fingerprint] == record and all(one.ready for one in status(client(running)))


def test_orphans_of_another_name_are_not_offered(
    server: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle
) -> None:
    deploy(replace(other_bundle, name="theirs"), client(server), "shop")
    del server.indices[f"shop-{other_bundle.short}"]
    deploy(small_bundle, client(server), "products")
    before = server.state()
    result = undeploy(client(server), "products", orphans=True)
    assert (result.removed, result.left) == ([], []) and server.state() == before


def test_the_last_deployment_is_removed(
    server: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the name ever had: the old index, the staged one, the baselines; and nothing of a similar name."""
    upgraded(server, small_bundle, other_bundle)
    metas: dict[str, Any] = {"products-bm25-ko": {"osparse_baseline": {}}, "products-bm25-mine": {}}
    for name, meta in metas.items():
        client(server).request("PUT", f"/{name}", body={"mappings": {"_meta": meta}})
    before = server.state()
    command = ("undeploy", "--cluster", server.url, "--index", "products", "--all")
    with pytest.raises(SystemExit, match="0"):
        main([*command, "--plan"])
    planned = capsys.readouterr().out
    assert server.state() == before and "nothing was touched" in planned
    for what in (small_bundle.short, other_bundle.short, "products-bm25-ko", "osparse-bundles"):
        assert f"remove  index {what}" in planned or f"remove  index products-{what}" in planned
    with pytest.raises(SystemExit, match="0"):
        main(list(command))
    left = server.state()
    assert list(left["indices"]) == ["products-bm25-mine"]
    assert not left["models"] and not left["groups"] and not server.ingest and not server.pipelines
    with pytest.raises(InputError, match="no index of the name"):
        undeploy(client(server), "products", everything=True)


def test_a_model_group_that_the_server_still_counts_is_removed_by_the_next_run(
    server: MLCommonsServer, small_bundle: Bundle, make_bundle: Callable[..., Bundle]
) -> None:
    """On a real node a group is refused for about a minute after its last model is deleted."""
    deploy(small_bundle, client(server), "products")
    server.groups["young"] = {"name": "osparse-young", "latest_version": 0}
    server.groups["strange"] = {"name": "others", "latest_version": 1}
    server.faults = [Fault("status", matching="DELETE .*model_groups/", times=2, status=409)]
    result = undeploy(client(server), "products", everything=True)
    (note,) = result.notes
    assert "model group osparse-tiny is empty and stays for now: the server still counts its models" in note
    assert not result.left and note in str(result), "no failure"
    assert not server.indices and not server.models and len(server.groups) == 3
    assert undeploy(client(server), "products", everything=True).notes == [note], "too early"
    assert undeploy(client(server), "products", everything=True).removed == ["model group osparse-tiny"]
    assert {*server.groups} == {"young", "strange"}, "nothing was ever registered in it, or it is not osparse's"
    with pytest.raises(InputError, match="no index of the name"):
        undeploy(client(server), "products", everything=True)


def test_the_last_deployment_leaves_what_another_name_uses(
    server: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle
) -> None:
    deploy(small_bundle, client(server), "shop")
    wanted = server.state()
    deploy(small_bundle, client(server), "products")
    assert undeploy(client(server), "products", everything=True).removed
    assert server.state() == wanted
    live = {"add": {"index": f"shop-{small_bundle.short}", "alias": "shop-live"}}
    client(server).request("POST", "/_aliases", body={"actions": [live]})
    result = undeploy(client(server), "shop", everything=True)
    assert refused(result, "alias shop-live") and result.in_use == f"shop-{small_bundle.short}"


def test_the_index_of_bundle_parts_is_removed_by_the_run_after_an_interrupted_one(
    core: MLCommonsServer, small_bundle: Bundle
) -> None:
    deploy(small_bundle, client(core), "products")
    core.faults = [Fault("drop", matching="DELETE /osparse-bundles$", times=10)]
    with pytest.raises(ClusterError):
        undeploy(client(core, retries=0), "products", everything=True)
    core.faults = []
    assert list(core.indices) == ["osparse-bundles"]
    assert undeploy(client(core), "products", everything=True).removed == ["index osparse-bundles"]
    assert not core.indices
    with pytest.raises(InputError, match="no index of the name"):
        undeploy(client(core), "products", everything=True)


def test_without_an_alias_the_whole_name_is_removed_only_when_asked(
    core: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle
) -> None:
    old = upgraded(core, small_bundle, other_bundle)
    for index in core.indices.values():
        index.aliases.clear()
    before = core.state()
    for plan_only in (True, False):
        with pytest.raises(InputError, match=f"{old}.*`everything=True`"):
            undeploy(client(core), "products", keep=0, plan_only=plan_only)
    assert core.state() == before
    undeploy(client(core), "products", keep=0, everything=True)
    assert not core.indices
