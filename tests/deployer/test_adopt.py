"""An index that osparse did not make is taken over: copied, followed, gated, served, rolled back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from adoption_world import FIELDS, OLD, TEXT, adopted, contents, document, fill, meanwhile
from mlcommons_http import Request
from mlcommons_server import MLCommonsServer, mlcommons_server

from osparse.contracts.bundle import Bundle
from osparse.contracts.deployment import FIELD
from osparse.deployer import Adoption, Gate, Upgrade, deploy, index_documents, rollback, status, undeploy
from osparse.errors import CheckError, DeploymentConflictError, InputError

from .conftest import TEXTS, client, stands_on


def test_everything_of_the_old_index_is_served_under_its_name(running: MLCommonsServer, small_bundle: Bundle) -> None:
    fill(running, count=600)
    before = contents(running, "products-v7")
    planned = deploy(
        small_bundle, client(running), "products", serving=TEXT, adoption=Adoption("products"), plan_only=True
    )
    assert "alias products: products-v7 ->" in str(planned) and "move along: cheap" in str(planned)
    assert list(running.indices) == ["products-v7"], "a plan touches nothing"
    result = adopted(running, small_bundle)
    new = running.indices[result.plan.index]
    assert stands_on(running) == [new.name] and stands_on(running, "products-previous") == ["products-v7"]
    assert contents(running, new.name) == before == contents(running, "products-v7")
    assert all(source[FIELD] for source in new.documents.values()), "each is encoded"
    assert new.documents["3"]["text"] == f"{TEXTS[3]}\nabout 3"
    properties = new.mappings["properties"]
    assert {name: properties[name] for name in FIELDS} == FIELDS and new.settings["codec"] == "best_compression"
    assert new.mappings["dynamic"] == "strict" and properties[FIELD]["type"] == "rank_features"
    assert new.aliases["cheap"] == OLD["aliases"]["cheap"] and stands_on(running, "cheap") == [new.name]
    assert running.indices["products-v7"].settings.get("blocks.write") is None
    assert any("documents: 600 in both, 600 copied" in line for line in result.gate) and "refused writes" in str(result)
    assert status(client(running), "products")[0].ready
    again = adopted(running, small_bundle)
    assert not again.plan.changes and "taken over already" in str(again)


def test_what_is_written_and_deleted_meanwhile_is_followed(running: MLCommonsServer, small_bundle: Bundle) -> None:
    """During the first pass, between passes, and just before the source refuses writes."""
    fill(running, count=600)
    old = running.indices["products-v7"]
    turn = iter(range(100))

    def write() -> None:
        if str(old.settings.get("blocks.write", "false")) == "true":
            return
        n = next(turn)
        old.put("5", document(5, f"name {n}"))
        old.put(f"new {n}", document(1, f"late {n}"))
        old.delete(str(100 + n))
        old.put(str(200 + n), document(2, f"changed {n}"))

    meanwhile(running, "POST /products-v7/_search", write, times=30)
    meanwhile(running, "PUT /products-v7/_block/write", write)
    result = adopted(running, small_bundle)
    assert contents(running, result.plan.index) == contents(running, "products-v7")
    assert len(old.documents) == 600 and old.documents["5"]["name"].startswith("name ")
    assert all(source[FIELD] for source in running.indices[result.plan.index].documents.values())


def test_a_write_that_is_not_yet_everywhere_is_read_by_the_next_pass(
    core: MLCommonsServer, small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Number 7 is under way while 8 and 9 are there: the checkpoint is 6, and nothing after it counts as read."""
    fill(core, count=10)
    plain = MLCommonsServer.shard_stats
    first = [True]

    def stats(server: MLCommonsServer, request: Request) -> Any:
        answer = plain(server, request)
        numbers = answer["indices"].get("products-v7", {}).get("shards", {}).get("0", [{}])[0].get("seq_no")
        if numbers and first:
            first.clear()
            numbers["global_checkpoint"] = 6
            core.indices["products-v7"].documents.pop("7")
        elif numbers:
            core.indices["products-v7"].documents.setdefault("7", document(7))
        return answer

    monkeypatch.setattr(MLCommonsServer, "shard_stats", stats)
    result = adopted(core, small_bundle)
    assert sorted(core.indices[result.plan.index].documents) == [str(n) for n in range(10)]


def test_rolled_back_and_forward_again(running: MLCommonsServer, small_bundle: Bundle) -> None:
    fill(running)
    cluster = client(running)
    new = adopted(running, small_bundle).plan.index
    cluster.request("PUT", f"/{new}/_doc/later", body=document(1))
    planned = rollback(cluster, "products", plan_only=True)
    assert planned.serves == "products-v7" and stands_on(running) == [new]
    back = rollback(cluster, "products")
    assert (back.serves, back.left, back.bundle) == ("products-v7", new, None)
    assert (back.documents, back.documents_left) == (20, 21) and "not made by osparse" in str(back)
    assert stands_on(running) == stands_on(running, "cheap") == ["products-v7"]
    assert stands_on(running, "products-previous") == [new]
    forward = rollback(cluster, "products")
    assert forward.serves == new and stands_on(running, "cheap") == [new] and forward.bundle == small_bundle.name
    cluster.request("PUT", "/products-v7/_doc/5", body=document(5, "written to the old one"))
    rollback(cluster, "products")
    again = adopted(running, small_bundle)
    assert contents(running, again.plan.index) == contents(running, "products-v7"), "the old index is what counts"
    assert stands_on(running) == [new]
    undeploy(cluster, "products", keep=0)
    assert "products-v7" in running.indices, "osparse removes nothing that it did not make"


def test_a_document_that_was_changed_while_the_new_index_served_is_not_taken_for_the_old_one(
    core: MLCommonsServer, small_bundle: Bundle
) -> None:
    """A partial update keeps the hash of the content that was loaded."""
    fill(core)
    new = adopted(core, small_bundle).plan.index
    core.indices[new].documents["4"]["price"] = 1000
    rollback(client(core), "products")
    adopted(core, small_bundle)
    assert contents(core, new) == contents(core, "products-v7")


def test_the_next_bundle_upgrades_what_was_adopted(
    running: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle
) -> None:
    fill(running)
    old = adopted(running, small_bundle).plan.index
    new = deploy(other_bundle, client(running), "products").plan.index
    assert stands_on(running) == [new] and stands_on(running, "products-previous") == [old]
    assert contents(running, new) == contents(running, "products-v7")
    assert "osparse_adoption" not in running.indices[new].mappings["_meta"]
    assert rollback(client(running), "products").serves == old


def test_an_index_of_the_very_name_is_replaced_only_when_asked(running: MLCommonsServer, small_bundle: Bundle) -> None:
    aliases = {"cheap": OLD["aliases"]["cheap"]}
    fill(running, "products", aliases=aliases)
    before = contents(running, "products")
    with pytest.raises(
        DeploymentConflictError,
        match="is the index itself and no alias.*cloned as products-original.*answered with 503",
    ):
        adopted(running, small_bundle, "products")
    assert list(running.indices) == ["products"]
    result = adopted(running, small_bundle, "products", replace_index=True)
    new = result.plan.index
    assert stands_on(running) == stands_on(running, "cheap") == [new] and "products" not in running.indices
    assert contents(running, new) == contents(running, "products-original") == before
    assert running.indices["products-original"].settings.get("blocks.write") is None
    assert not adopted(running, small_bundle, "products").plan.changes
    assert rollback(client(running), "products").serves == "products-original"
    assert stands_on(running) == ["products-original"] == stands_on(running, "cheap")


def test_a_name_that_is_new_leaves_the_other_names_alone(running: MLCommonsServer, small_bundle: Bundle) -> None:
    fill(running)
    result = deploy(small_bundle, client(running), "search", serving=TEXT, adoption=Adoption("products-v7"))
    assert stands_on(running, "search") == [result.plan.index] and stands_on(running) == ["products-v7"]
    assert "stay on products-v7: cheap, products" in str(result)
    assert rollback(client(running), "search").serves == "products-v7"


def test_an_index_of_another_cluster(core: MLCommonsServer, small_bundle: Bundle) -> None:
    with mlcommons_server(plugins=()) as far:
        fill(far, count=300)
        result = adopted(core, small_bundle, cluster=client(far))
        assert contents(core, result.plan.index) == contents(far, "products-v7")
        assert stands_on(core) == [result.plan.index] == stands_on(core, "cheap")
        assert stands_on(far) == ["products-v7"] and "still takes writes" in str(result)
        writes = [call for call in far.calls[1:] if call.method in ("PUT", "DELETE") or "_bulk" in call.path]
        assert not writes, "the other cluster is only read"
        with pytest.raises(InputError, match="nothing to go back to"):
            rollback(client(core), "products")


def test_another_cluster_that_is_written_to_all_the_time(core: MLCommonsServer, small_bundle: Bundle) -> None:
    with mlcommons_server(plugins=()) as far:
        fill(far)
        turn = iter(range(1000))
        meanwhile(far, "POST /products-v7/_refresh", lambda: far.indices["products-v7"].put(
            "5", document(5, f"name {next(turn)}")), times=1000)  # fmt: skip
        with pytest.raises(CheckError, match="Pause what writes to it"):
            adopted(core, small_bundle, cluster=client(far))
        assert not stands_on(core)


def test_the_gate_compares_the_old_queries_with_the_new_index(running: MLCommonsServer, small_bundle: Bundle) -> None:
    fill(running)
    asked: list[str] = []

    def measure(index: str) -> float:
        asked.append(index)
        return 0.5 if index == "products-v7" else 0.1

    with pytest.raises(CheckError, match="lower by more than the margin"):
        adopted(running, small_bundle, upgrade=Upgrade(gate=Gate(measure, "judged")))
    assert stands_on(running) == ["products-v7"] and asked == ["products-v7", f"products-{small_bundle.short}"]
    assert running.indices["products-v7"].settings.get("blocks.write") is None, "writes go on while it is measured"


def test_documents_written_by_osparse_are_left_without_its_fields(
    core: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle, tmp_path: Path
) -> None:
    """An osparse index of another cluster moves here, encoded by another bundle."""
    with mlcommons_server(plugins=()) as far:
        deploy(small_bundle, client(far), "products")
        rows = tmp_path / "rows.jsonl"
        rows.write_text("".join(json.dumps({"id": str(n), "text": text}) + "\n" for n, text in enumerate(TEXTS)))
        index_documents(client(far), "products", [rows])
        adoption = Adoption("products", client(far))
        new = deploy(other_bundle, client(core), "products", adoption=adoption).plan.index
        here, there = core.indices[new].documents, far.indices[f"products-{small_bundle.short}"].documents
        assert {i: s["text"] for i, s in here.items()} == {i: s["text"] for i, s in there.items()}
        assert all(here[i][FIELD] != there[i][FIELD] for i in here)


def test_what_programs_write_without_vectors_is_encoded_by_the_same_command(
    core: MLCommonsServer, small_bundle: Bundle
) -> None:
    """In mode client; a document that is changed while it is encoded keeps the change, and is encoded next."""
    fill(core)
    new = adopted(core, small_bundle).plan.index
    index = core.indices[new]
    whole = {i: dict(source[FIELD]) for i, source in index.documents.items()}
    index.put("5", document(6))
    index.put("new", document(7))
    index.put("blank", {"name": " ", "about": ""})
    index.documents["8"] = {**index.documents["8"], "name": TEXTS[1], "about": "about 9"}
    index.put("8", index.documents["8"])
    index.delete("9")
    meanwhile(core, f"POST /{new}/_bulk", lambda: index.put("5", document(10)))
    meanwhile(core, f"POST /{new}/_bulk", lambda: index.delete("new"))
    result = adopted(core, small_bundle)
    assert {"new", "9"}.isdisjoint(index.documents) and FIELD not in index.documents["blank"]
    assert index.documents["5"][FIELD] == whole["10"] and index.documents["5"]["price"] == 10
    assert index.documents["8"][FIELD] == whole["9"] and "other programs wrote were encoded" in str(result)
    assert not adopted(core, small_bundle).plan.changes
