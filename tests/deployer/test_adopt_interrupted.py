"""An adoption that is killed, interrupted or refused leaves the old index served, and the next run finishes it."""

from __future__ import annotations

from typing import Any

import pytest
from adoption_world import TEXT, adopted, contents, document, fill
from mlcommons_server import Fault, MLCommonsServer, mlcommons_server

from osparse.contracts.bundle import Bundle
from osparse.deployer import Adoption, Upgrade, deploy
from osparse.deployer.adopt import changes, follow
from osparse.errors import ClusterError, DeploymentConflictError, InputError, OsparseError

from .conftest import client, stands_on


@pytest.mark.parametrize("kind", ["drop", "lose"])
@pytest.mark.parametrize("replaced", [False, True])
def test_an_adoption_killed_at_any_call_converges(
    kind: str, replaced: bool, small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every moment one index is served; the next run finishes, and the old index takes writes again."""
    monkeypatch.setattr("osparse.deployer.load.bulk.TRIES", 1)
    monkeypatch.setattr(follow, "RESTARTS", 1)
    monkeypatch.setattr(follow, "RECORD_SECONDS", 0.0)
    name = "products" if replaced else "products-v7"

    def run(server: MLCommonsServer) -> None:
        adoption = Adoption(name, replace_index=replaced)
        deploy(small_bundle, client(server, retries=0), "products", serving=TEXT, adoption=adoption)

    def start(server: MLCommonsServer) -> int:
        fill(server, name, count=6, **({"aliases": {}} if replaced else {}))
        return len(server.calls)

    def searchable(server: MLCommonsServer) -> bool:
        return len(stands_on(server)) == 1 or "products" in server.indices

    with mlcommons_server(plugins=()) as whole:
        first = start(whole)
        run(whole)
        before = contents(whole, stands_on(whole)[0])
        calls = whole.calls[first:]
    writes = [call.number for call in calls if call.method == "PUT" or call.path.endswith(("_bulk", "_aliases", "8"))]
    assert len(writes) >= 8
    for k in writes:
        with mlcommons_server(plugins=()) as server:
            start(server)
            server.faults = [Fault(kind, calls=range(k, k + 1)), Fault("drop", calls=range(k + 1, 10_000))]
            try:
                run(server)
            except OsparseError:
                assert searchable(server), f"{kind} at call {k}"
            server.faults = []
            run(server)
            (new,) = stands_on(server)
            assert contents(server, new) == before, f"{kind} at call {k}"
            old = server.indices["products-original" if replaced else name]
            assert old.settings.get("blocks.write") is None and contents(server, old.name) == before, f"{kind} at {k}"


def test_an_interrupted_copy_continues_where_it_was(
    core: MLCommonsServer, small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "PAGE", 10)
    monkeypatch.setattr(changes, "WINDOW", 1)
    monkeypatch.setattr(changes, "LARGEST_WINDOW", 10)
    monkeypatch.setattr(follow, "RECORD_SECONDS", 0.0)
    monkeypatch.setattr("osparse.deployer.load.prepare.BATCH", 20)
    monkeypatch.setattr("osparse.deployer.load.bulk.TRIES", 1)
    monkeypatch.setattr(follow, "RESTARTS", 1)
    fill(core, count=200)
    new = f"products-{small_bundle.short}"
    plain, bulks = core.answer, [0]

    def answer(method: str, path: str, query: dict[str, str], kind: str, data: bytes) -> tuple[int, Any]:
        if path.endswith("_bulk"):
            bulks[0] += 1
            if bulks[0] == 7:
                return 500, {"error": "no"}
        return plain(method, path, query, kind, data)

    core.answer = answer  # type: ignore[method-assign]
    with pytest.raises(ClusterError):
        adopted(core, small_bundle)
    position = core.indices[new].mappings["_meta"]["osparse_adoption"]["position"]["0"]
    assert 19 <= position < 140
    seen = len(core.calls)
    adopted(core, small_bundle)
    pages = [call for call in core.calls[seen:] if call.path == "/products-v7/_search"]
    assert contents(core, new) == contents(core, "products-v7") and len(pages) < 22 - position // 10 + 4


def test_a_document_that_cannot_be_copied_stops_the_switch(core: MLCommonsServer, small_bundle: Bundle) -> None:
    fill(core)
    core.indices["products-v7"].put("bad", {**document(1), "name": 1.5})
    with pytest.raises(ClusterError, match="1 documents of products-v7 cannot be copied.*(?s:.*)bad: name is part"):
        adopted(core, small_bundle)
    assert stands_on(core) == ["products-v7"]
    core.indices["products-v7"].put("bad", document(1))
    adopted(core, small_bundle)
    assert "bad" in core.indices[f"products-{small_bundle.short}"].documents


def test_a_source_whose_owner_stopped_writes_stays_so(core: MLCommonsServer, small_bundle: Bundle) -> None:
    fill(core)
    core.indices["products-v7"].settings["blocks.write"] = "true"
    adopted(core, small_bundle)
    assert core.indices["products-v7"].settings["blocks.write"] == "true"
    assert "blocks.write" not in core.indices[f"products-{small_bundle.short}"].settings


def test_what_cannot_be_adopted_is_said_before_anything_is_made(core: MLCommonsServer, small_bundle: Bundle) -> None:
    fill(core)
    cluster = client(core)
    with pytest.raises(InputError, match="has no index nosuch"):
        adopted(core, small_bundle, "nosuch")
    with pytest.raises(InputError, match="has no text field text.*about, name"):
        deploy(small_bundle, cluster, "products", adoption=Adoption("products-v7"))
    with pytest.raises(InputError, match="no field nosuch"):
        deploy(small_bundle, cluster, "products", serving={"text_template": "{nosuch}"}, adoption=Adoption("products"))
    with pytest.raises(InputError, match="must be a date field of products-v7; price is double"):
        adopted(core, small_bundle, changed_field="price")
    with pytest.raises(InputError, match="leave one of them out"):
        adopted(core, small_bundle, upgrade=Upgrade(stage=True))
    with pytest.raises(DeploymentConflictError, match="take its documents over"):
        deploy(small_bundle, cluster, "products")
    cluster.request("PUT", "/other", body={})
    with pytest.raises(DeploymentConflictError, match="stands on products-v7, not on other"):
        deploy(small_bundle, cluster, "products", serving={"text_template": "{x}"}, adoption=Adoption("other"))
    core.indices["other"].aliases["products"] = {}
    with pytest.raises(InputError, match="stands for 2 indices"):
        adopted(core, small_bundle, "products")
    assert sorted(core.indices) == ["other", "products-v7"]
    ours = deploy(small_bundle, cluster, "mine").plan.index
    with pytest.raises(DeploymentConflictError, match="osparse made the index"):
        adopted(core, small_bundle, ours)
