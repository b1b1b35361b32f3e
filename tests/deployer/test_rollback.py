"""The name goes back to the index before, and forward again."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlcommons_server import Fault, MLCommonsServer

from osparse.contracts.bundle import Bundle
from osparse.deployer import deploy, heal, index_documents, read_deployment, rollback, status
from osparse.errors import ClusterError, InputError

from .conftest import client, stands_on


def test_rollback_goes_back_and_forth(
    running: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle, documents: Path
) -> None:
    cluster = client(running)
    with pytest.raises(InputError, match="no index"):
        rollback(cluster, "products")
    deploy(small_bundle, cluster, "products")
    with pytest.raises(InputError, match="nothing to go back to"):
        rollback(cluster, "products")
    deploy(other_bundle, cluster, "products")
    old, new = (f"products-{b.short}" for b in (small_bundle, other_bundle))
    before = running.state()
    assert "would go back" in str(rollback(cluster, "products", plan_only=True)) and running.state() == before
    index_documents(cluster, "products", [documents])
    result = rollback(cluster, "products")
    assert (stands_on(running), stands_on(running, "products-previous")) == ([old], [new])
    assert (result.documents, result.documents_left) == (0, 5) and "since the switch" in str(result)
    assert read_deployment(cluster, "products").fingerprint == small_bundle.fingerprint
    assert rollback(cluster, "products").serves == new
    assert status(cluster, "products")[0].ready


def test_rollback_finds_the_youngest_where_the_mark_is_gone(
    core: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle
) -> None:
    cluster = client(core)
    deploy(small_bundle, cluster, "products")
    deploy(other_bundle, cluster, "products")
    core.indices[f"products-{small_bundle.short}"].aliases.clear()
    assert rollback(cluster, "products").serves == f"products-{small_bundle.short}"


def test_no_rollback_onto_an_index_that_cannot_serve(
    server: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle
) -> None:
    cluster = client(server)
    deploy(small_bundle, cluster, "products")
    deploy(other_bundle, cluster, "products")
    for i in [i for i, model in server.models.items() if small_bundle.short in model["name"]]:
        server.runtimes.pop(i)
    with pytest.raises(ClusterError, match="cannot serve as it is"):
        rollback(cluster, "products")
    assert stands_on(server) == [f"products-{other_bundle.short}"]
    assert deploy(small_bundle, cluster, "products").plan.changes
    assert stands_on(server) == [f"products-{small_bundle.short}"], "deploying it again mends and switches"


def test_a_rollback_that_moved_the_alias_succeeds(
    server: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle
) -> None:
    """An error after the move would have the user run it again, and that undoes it."""
    cluster = client(server, retries=0)
    deploy(small_bundle, cluster, "products", serving={"hybrid": "rrf"})
    deploy(other_bundle, cluster, "products")
    old, new = (f"products-{bundle.short}" for bundle in (small_bundle, other_bundle))
    server.faults = [
        Fault("status", matching="PUT .*osparse-hybrid-products", times=99, status=500),
        Fault("status", matching=f"{new}/_(count|search)", times=99, status=500),
    ]
    result = rollback(cluster, "products")
    server.faults = []
    assert result.serves == old and stands_on(server) == [old] and result.documents_left is None
    (note,) = result.notes
    assert note.startswith("alias moved; run: osparse status --heal") and "osparse-hybrid-products" in note
    assert "not readable" in str(result)
    assert not status(cluster, "products")[0].ready
    assert [healed.problem for healed in heal(cluster)] == [None] and status(cluster, "products")[0].ready
