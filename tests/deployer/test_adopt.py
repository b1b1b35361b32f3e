"""An index that osparse did not make is taken over: copied, followed, gated, served, rolled back."""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from mlcommons_http import Request
from mlcommons_server import ML_PLUGINS, Fault, MLCommonsServer, mlcommons_server

from osparse.cli.main import cli, main
from osparse.contracts.bundle import Bundle
from osparse.contracts.deployment import FIELD
from osparse.deployer import Adoption, Gate, Upgrade, deploy, index_documents, rollback, status, undeploy
from osparse.deployer.adopt import changes, follow
from osparse.deployer.load.documents import HASH_FIELD
from osparse.errors import CheckError, ClusterError, DeploymentConflictError, InputError, OsparseError
from osparse.retrieval import adoption_gate
from osparse.retrieval.adoption_gate import filled, read_template

from .conftest import TEXTS, client

ROOT = Path(__file__).resolve().parents[2]
TEXT = {"text_template": "{name}\n{about}"}
FIELDS = {f"f{n}": {"type": kind} for n, kind in enumerate(["keyword", "long", "double", "date", "boolean"] * 6)}
OLD: dict[str, Any] = {
    "settings": {"index": {"number_of_shards": "1", "codec": "best_compression"}},
    "mappings": {
        "dynamic": "strict",
        "properties": {"name": {"type": "text"}, "about": {"type": "text"}, "price": {"type": "double"}, **FIELDS},
    },
    "aliases": {"products": {}, "cheap": {"filter": {"range": {"price": {"lt": 10}}}}},
}


@pytest.fixture(params=["ml-commons", "client"])
def running(request: pytest.FixtureRequest) -> Iterator[MLCommonsServer]:
    plugins = ML_PLUGINS if request.param == "ml-commons" else ()
    with mlcommons_server(plugins) as server:
        yield server


def document(n: int, name: str = "") -> dict[str, Any]:
    return {"name": name or TEXTS[n % len(TEXTS)], "about": f"about {n}", "price": n, "f0": str(n)}


def fill(server: MLCommonsServer, index: str = "products-v7", count: int = 20, **parts: Any) -> None:
    client(server).request("PUT", f"/{index}", body={**OLD, **parts})
    for n in range(count):
        client(server).request("PUT", f"/{index}/_doc/{n}", body=document(n))


def adopted(server: MLCommonsServer, bundle: Bundle, source: str = "products-v7", **options: Any) -> Any:
    upgrade = options.pop("upgrade", None)
    adoption = Adoption(source, **options)
    return deploy(bundle, client(server), "products", serving=TEXT, adoption=adoption, upgrade=upgrade)


def stands_on(server: MLCommonsServer, alias: str = "products") -> list[str]:
    return [name for name, index in server.indices.items() if alias in index.aliases]


def contents(server: MLCommonsServer, index: str) -> dict[str, Any]:
    left = {FIELD, HASH_FIELD, "text"}
    return {
        i: {name: value for name, value in source.items() if name not in left}
        for i, source in server.indices[index].documents.items()
    }


def meanwhile(server: MLCommonsServer, pattern: str, act: Callable[[], object], times: int = 1) -> None:
    """Do something just before the server answers the first calls of a kind."""
    plain, left = server.answer, [times]

    def answer(method: str, path: str, query: dict[str, str], kind: str, data: bytes) -> tuple[int, Any]:
        if left[0] and f"{method} {path}".endswith(pattern):
            left[0] -= 1
            act()
        return plain(method, path, query, kind, data)

    server.answer = answer  # type: ignore[method-assign]


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
        writes = [call for call in far.calls[301:] if call.method in ("PUT", "DELETE") or "_bulk" in call.path]
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


def run(*arguments: str) -> Any:
    return CliRunner().invoke(cli, list(arguments))


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command says that is refused as wrong input, or as a conflict."""
    with pytest.raises(SystemExit) as done:
        main(list(arguments))
    assert done.value.code
    return capsys.readouterr().err


def test_the_command_takes_an_index_of_another_cluster_and_gives_the_name_back(
    core: MLCommonsServer, small_bundle: Bundle, tmp_path: Path
) -> None:
    """With the shop of examples/products.py; the credentials of --cluster stay there."""
    shop = runpy.run_path(str(ROOT / "examples" / "products.py"))
    rows = [*shop["products"](60)]
    assert rows == [*shop["products"](60)] and len(rows[0]) == 9
    text = ["--text-field", "name", "--text-field", "description"]
    shop["load"](core.url, "products-v7", rows)
    target = ["--cluster", core.url, "--index", "products"]
    deployed = run("deploy", str(small_bundle.path), *target, "--from", "products-v7", *text, "--json")
    assert deployed.exit_code == 0, deployed.output
    assert "products now stands on products-v7 (not made by osparse, 60 documents)" in run("rollback", *target).output
    with mlcommons_server(plugins=()) as near:
        near.password = ("me", "secret")
        env = {"OSPARSE_USERNAME": "me", "OSPARSE_PASSWORD": "secret"}
        command = ["deploy", str(small_bundle.path), "--cluster", near.url, "--index", "products", *text]
        done = CliRunner().invoke(cli, [*command, "--from", f"{core.url}#products"], env=env)
        assert done.exit_code == 0, done.output
        assert contents(near, stands_on(near)[0]) == contents(core, "products-v7")
    assert not any("authorization" in headers for headers in core.headers_seen)


def test_options_that_go_with_another_are_named(
    core: MLCommonsServer, small_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(core)
    command = ["deploy", str(small_bundle.path), "--cluster", core.url, "--index", "products"]
    said = refused(capsys, *command, "--replace-index", "--changed-field", "date")
    assert "--changed-field and --replace-index go with --from INDEX" in said
    said = refused(capsys, *command, "--from", "products-v7", "--gate-query", "q.json")
    assert "--gate-query goes with --gate DATASET" in said
    assert "take its documents over (--from)" in refused(capsys, *command)
    said = refused(capsys, *command, "--from", "products-v7")
    assert "--text-field" in said and "Its text fields: about, name" in said
    said = refused(capsys, *command, "--from", "products-v7", "--text-field", "name", "--no-copy")
    assert "--stage and --no-copy leave out what --from asks for" in said


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"query": {"match": {"name": "fixed"}}}, "has {{text}} where the text of a query belongs"),
        ({"match": {"name": "{{text}}"}}, "must hold a search body"),
        ({"query": {"match": {"name": "{{text}}"}}, "sort": ["price"]}, "sorts the hits"),
    ],
)
def test_a_query_template_that_cannot_be_used(tmp_path: Path, body: Any, problem: str) -> None:
    path = tmp_path / "query.json"
    path.write_text(json.dumps(body))
    with pytest.raises(InputError, match=re.escape(problem)):
        read_template(path)


def test_a_query_template_is_filled_everywhere_and_its_text_is_never_read_as_one() -> None:
    template = {"query": {"bool": {"should": [{"match": {"a": "{{text}}"}}, {"match": {"b": "x {{text}} y"}}]}}, "n": 1}
    assert filled(template, '"{{text}}"') == {
        "query": {"bool": {"should": [{"match": {"a": '"{{text}}"'}}, {"match": {"b": 'x "{{text}}" y'}}]}}, "n": 1
    }  # fmt: skip


def test_both_gates_measure_the_same_judged_queries(
    core: MLCommonsServer, small_bundle: Bundle, tmp_path: Path
) -> None:
    """By the text fields of the mapping, or by a template; against a closed form: each query has one answer, found first."""
    judged = tmp_path / "judged"
    (judged / "qrels").mkdir(parents=True)
    words = ["pear", "bread", "rain", "tram"]
    fill(core, count=0)
    for n, word in enumerate(words):
        client(core).request("PUT", f"/products-v7/_doc/{n}", body={**document(n, word), "about": word})
        core.indices["products-v7"].documents[str(n)]["text"] = f"{word} {word}s"
    lines = [json.dumps({"_id": str(n), "text": word}) + "\n" for n, word in enumerate(words)]
    (judged / "corpus.jsonl").write_text("".join(lines))
    (judged / "queries.jsonl").write_text("".join(lines))
    qrels = "".join(f"{n}\t{n if n < 3 else 0}\t1\n" for n in range(4))
    (judged / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + qrels)
    query = tmp_path / "query.json"
    query.write_text(json.dumps({"query": {"match": {"text": "{{text}}"}}}))
    for template in (None, query):
        gate = adoption_gate(client(core), judged, "products", query=template)
        assert gate.measure("products-v7") == pytest.approx(3 / 4)
