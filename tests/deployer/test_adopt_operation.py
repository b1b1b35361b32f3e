"""An adoption seen from outside: what is said before it begins, while it is unfinished, and what it asks for."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from mlcommons_server import MLCommonsServer, mlcommons_server
from security_plugin import secured_server

from osparse.cli.main import cli
from osparse.contracts.bundle import Bundle
from osparse.deployer import Adoption, deploy, doctor, status
from osparse.deployer.adopt.changes import BySequence
from osparse.deployer.cluster.api import ClusterApi
from osparse.errors import ClusterError

from .conftest import TEXTS, client
from .test_security import ROLES, as_user

TEXT = {"text_template": "{name}"}


def fill(server: MLCommonsServer, count: int = 30, index: str = "products-v7", **parts: Any) -> None:
    body = {"mappings": {"properties": {"name": {"type": "text"}}}, **parts}
    client(server).request("PUT", f"/{index}", body=body)
    for n in range(count):
        server.indices[index].put(str(n), {"name": TEXTS[n % len(TEXTS)]})


def adopt(server: MLCommonsServer, bundle: Bundle, adoption: Adoption, **options: Any) -> Any:
    return deploy(bundle, client(server), "products", serving=TEXT, adoption=adoption, **options)


def interrupted(server: MLCommonsServer, bundle: Bundle, adoption: Adoption, at: str) -> None:
    """An adoption that ends with the first call of this kind."""
    plain = server.answer

    def answer(method: str, path: str, query: dict[str, str], kind: str, data: bytes) -> tuple[int, Any]:
        return (400, {"error": "no"}) if re.search(at, f"{method} {path}") else plain(method, path, query, kind, data)

    server.answer = answer  # type: ignore[method-assign]
    with pytest.raises(ClusterError):
        adopt(server, bundle, adoption)
    server.answer = plain  # type: ignore[method-assign]


def finished_by_its_own_advice(server: MLCommonsServer, bundle: Bundle, pattern: str) -> None:
    """``status`` has one problem, whose command ends the adoption."""
    (unfinished,) = status(client(server))
    (problem,) = unfinished.problems
    found = re.search(pattern, problem)
    assert found, problem
    arguments = [str(bundle.path) if word == "BUNDLE" else word for word in shlex.split(found[1])[1:]]
    done = CliRunner().invoke(cli, [*arguments, "--cluster", server.url])
    assert done.exit_code == 0, done.output
    assert all(one.ready for one in status(client(server)))


COMMAND = r"(osparse deploy BUNDLE --index products --from \S+( --replace-index)?)"


@pytest.mark.parametrize("source", ["products-v7", "products"])
def test_status_names_the_command_that_ends_an_adoption(
    source: str, core: MLCommonsServer, small_bundle: Bundle
) -> None:
    """Stopped at its first documents; also where the source has the very name."""
    fill(core, index=source)
    interrupted(core, small_bundle, Adoption(source, replace_index=source == "products"), "POST .*/_bulk")
    before = rf"unfinished adoption, 0 of 30 documents; resume with: {COMMAND}$"
    finished_by_its_own_advice(core, small_bundle, before)


def test_status_names_the_field_that_changes_are_found_by(core: MLCommonsServer, small_bundle: Bundle) -> None:
    mappings = {"properties": {"name": {"type": "text"}, "at": {"type": "date"}}}
    fill(core, mappings=mappings)
    interrupted(core, small_bundle, Adoption("products-v7", changed_field="at"), "POST .*/_bulk")
    finished_by_its_own_advice(
        core, small_bundle, r"(osparse deploy BUNDLE --index products --from products-v7 --changed-field at)$"
    )


def test_status_says_that_a_source_refuses_writes(core: MLCommonsServer, small_bundle: Bundle) -> None:
    """Stopped while it was blocked, before and after the name moved."""
    fill(core, aliases={"products": {}})
    interrupted(core, small_bundle, Adoption("products"), "POST /_aliases|PUT /products-v7/_settings")
    said = rf"unfinished adoption, 30 of 30 documents; resume with: {COMMAND}; products-v7 refuses writes until then"
    finished_by_its_own_advice(core, small_bundle, said)
    core.indices["products-v7"].settings["blocks.write"] = "true"
    new = core.indices[f"products-{small_bundle.short}"]
    new.mappings["_meta"]["osparse_adoption"]["blocked"] = True
    finished_by_its_own_advice(core, small_bundle, rf"left products-v7 refusing writes; .*: {COMMAND}$")
    assert "blocks.write" not in core.indices["products-v7"].settings


def test_status_names_the_cluster_of_the_source(core: MLCommonsServer, small_bundle: Bundle) -> None:
    fill(core)
    with mlcommons_server(plugins=()) as near:
        interrupted(near, small_bundle, Adoption("products-v7", client(core)), "POST .*/_bulk")
        finished_by_its_own_advice(
            near, small_bundle, rf"0 documents; resume with: (osparse .* --from {core.url}#products-v7)$"
        )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"blocks.read": "true"}, r"blocked: index products-v7 has the block index.blocks.read: remove it with PUT"),
        ({"blocks.read_only": "true"}, r"blocked: index products-v7 has the block index.blocks.read_only"),
        ({"blocks.write": "true"}, r"note: products-v7 refuses writes already"),
    ],
)
def test_a_plan_looks_at_the_source(
    change: dict[str, str], said: str, core: MLCommonsServer, small_bundle: Bundle
) -> None:
    fill(core)
    plan = adopt(core, small_bundle, Adoption("products-v7"), plan_only=True)
    assert "ok: products-v7 can be taken over: 30 documents" in str(plan) and not plan.preflight.blocked
    assert re.search("the bundle and the copy of products-v7 takes up to .*B, and", str(plan))
    core.indices["products-v7"].settings |= change
    for shown in (str(adopt(core, small_bundle, Adoption("products-v7"), plan_only=True)),
                  re.sub(r"^  ([!+-]) ", lambda m: {"!": "note: ", "-": "blocked: ", "+": ""}[m[1]],
                         str(doctor(client(core), "products-v7")), flags=re.M)):  # fmt: skip
        assert re.search(said, shown), shown


def test_a_copy_with_vectors_must_fit(core: MLCommonsServer, small_bundle: Bundle) -> None:
    fill(core, 3000)
    core.disk_free = 2_005_000_000  # 5 MB below the watermark
    (problem,) = adopt(core, small_bundle, Adoption("products-v7"), plan_only=True).preflight.blocked
    assert "copy of products-v7" in problem and "free disk space" in problem


def test_a_copy_with_further_fields_takes_their_vectors_too(
    core: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle
) -> None:
    """In an adoption, and in an upgrade that adds a field: the sizes that the plan states grow by those vectors."""
    fill(core, 300)

    def stated(**options: Any) -> float:
        result = deploy(small_bundle, client(core), "products", plan_only=True, **options)
        found = re.search(r"the copy of \S+ takes up to ([0-9.]+) ([kM])B", str(result))
        assert found, result
        return float(found[1]) * {"k": 1e3, "M": 1e6}[found[2]]

    taken: dict[str, Any] = {"serving": TEXT, "adoption": Adoption("products-v7")}
    parts = sum(file.size for file in small_bundle.files.values())
    one, two = (stated(**taken, sparse_fields=fields) for fields in ([], ["name_sparse=name"]))
    assert two - parts == pytest.approx(2 * (one - parts), rel=0.05), "the source itself takes next to nothing"
    fill(core, 300, "old")
    deploy(other_bundle, client(core), "products", serving=TEXT, adoption=Adoption("old"))
    plain, more = (stated(sparse_fields=fields) for fields in ([], ["name_sparse=name"]))
    assert more - plain == pytest.approx(two - one, rel=0.05)


def test_doctor_says_why_an_index_cannot_be_taken_over(core: MLCommonsServer) -> None:
    fill(core, mappings={"_source": {"enabled": False}, "properties": {}})
    assert "- products-v7 cannot be taken over: " in str(doctor(client(core), "products-v7"))


def test_ids_alone_are_read_in_large_pages(core: MLCommonsServer) -> None:
    """The last comparison is made while writes are refused."""
    fill(core, 1500)
    api = ClusterApi(client(core))
    seen = len(core.calls)
    changes = BySequence(api, "products-v7", ("*",))
    ids = [hit["_id"] for hits, _ in changes.pages({}, changes.now()) for hit in hits]
    assert sorted(ids, key=int) == [str(n) for n in range(1500)]
    assert len([call for call in core.calls[seen:] if call.path.endswith("_search")]) == 1


def test_ids_that_were_compared_before_writes_stop_are_not_read_again(
    core: MLCommonsServer, small_bundle: Bundle
) -> None:
    """Reading an id unpacks its document: between the block and the move of the name only new ones are read."""
    fill(core, 40, aliases={"products": {}})
    plain, asked = core.answer, list[tuple[str, bytes]]()

    def answer(method: str, path: str, query: dict[str, str], kind: str, data: bytes) -> tuple[int, Any]:
        asked.append((path, data))
        if path == "/products-v7/_block/write":  # another program's last writes
            core.indices["products-v7"].delete("7")
            core.indices["products-v7"].put("new", {"name": "growing pears"})
            core.indices["products-v7"].delete("8")
        return plain(method, path, query, kind, data)

    core.answer = answer  # type: ignore[method-assign]
    result = adopt(core, small_bundle, Adoption("products"))
    new = core.indices[result.plan.index]
    assert new.documents.keys() == core.indices["products-v7"].documents.keys() and "2 deleted" in str(result)
    paths = [path for path, _ in asked]
    since = asked[paths.index("/products-v7/_block/write") : paths.index("/_aliases")]
    ranges = [data for path, data in since if path == f"/{new.name}/_search" and b"_seq_no" in data]
    assert ranges and not any(b'"gt": -1' in data or b'"gt":-1' in data for data in ranges), "read before"


def test_an_adoption_works_with_its_role_and_uses_all_of_it(small_bundle: Bundle, tmp_path: Path) -> None:
    role = ROLES["osparse_adopt"]
    with secured_server(()) as server:
        server.add_user(
            "adopter", {name: ROLES[name] for name in ("osparse_adopt", "osparse_deploy", "osparse_monitor")}
        )
        server.add_user("deployer", {name: ROLES[name] for name in ("osparse_deploy", "osparse_monitor")})
        fill_as = as_user(server)
        fill_as.request("PUT", "/products-v7", body={"mappings": {"properties": {"name": {"type": "text"}}}})
        for n in range(3):
            fill_as.request("PUT", f"/products-v7/_doc/{n}", body={"name": TEXTS[n]})
        server.used.clear()
        options: dict[str, Any] = {"serving": TEXT, "adoption": Adoption("products-v7")}
        lacking = deploy(small_bundle, as_user(server, "deployer", "pass"), "products", plan_only=True, **options)
        assert "lacks permissions that deploy needs: indices:admin/block/add" in str(lacking)
        cluster = as_user(server, "adopter", "pass")
        assert not deploy(small_bundle, cluster, "products", plan_only=True, **options).preflight.blocked  # type: ignore[union-attr]
        assert deploy(small_bundle, cluster, "products", **options).applied
        used = {permission.action for _, permission in server.used}
    assert {*role.cluster, *(action for part in role.indices for action in part["allowed_actions"])} <= used
