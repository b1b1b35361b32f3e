"""Behind the security plugin: the documented roles suffice and hold nothing unused; what a role hides is said."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlcommons_server import ML_PLUGINS
from security_actions import Needed
from security_plugin import Role, SecuredServer, read_roles, secured_server

from osparse.cli.main import main
from osparse.contracts.bundle import Bundle
from osparse.contracts.dataset import Dataset
from osparse.contracts.deployment import FIELD
from osparse.deployer import Cluster, deploy, index_documents
from osparse.deployer.cluster.credentials import Credentials
from osparse.errors import AccessError, ClusterError
from osparse.evaluation.measures import open_benchmark
from osparse.retrieval import Searcher, evaluate

PAGE = Path(__file__).parents[2] / "docs" / "operating.md"
ROLES = read_roles(re.search(r"```yaml\n(# roles.yml.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[1])  # type: ignore[index]
PLUGINS = pytest.mark.parametrize("plugins", [ML_PLUGINS, ()], ids=["ml-commons", "client"])
ONLY_SOMETIMES = {
    "cluster:admin/settings/update": "only with --allow-settings",
    "indices:admin/settings/update": "index: only for 10,000 documents or more",
    "cluster:monitor/health": "deploy --plan",
}


@pytest.fixture
def secured() -> Iterator[SecuredServer]:
    with secured_server(()) as server:
        yield server


def as_user(server: SecuredServer, name: str = "admin", password: str = "admin") -> Cluster:
    pair = {"OSPARSE_USERNAME": name, "OSPARSE_PASSWORD": password}
    return Cluster(server.url, credentials=Credentials.from_environment(pair))


def osparse(monkeypatch: pytest.MonkeyPatch, user: str, *arguments: str) -> int:
    monkeypatch.setenv("OSPARSE_USERNAME", user)
    monkeypatch.setenv("OSPARSE_PASSWORD", "pass")
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    return int(stopped.value.code or 0)


def everything(
    server: SecuredServer, bundles: tuple[Bundle, Bundle], dataset: Dataset, folder: Path, patch: pytest.MonkeyPatch
) -> None:
    """Every command, each as the user of its role."""
    target = ("--cluster", server.url, "--index", "products")
    first, second = (str(bundle.path) for bundle in bundles)
    document, *_, last = dataset.documents.select("id").collect()["id"]
    changes = folder / "changes.jsonl"
    changes.write_text(json.dumps({"id": last, "_op": "delete"}) + "\n", encoding="utf-8")
    for user, *arguments in (
        ("osparse_deploy", "deploy", *target, first, "--plan"),
        ("osparse_deploy", "deploy", *target, first),
        ("osparse_index", "index", *target, str(dataset.path)),
        ("osparse_index", "index", *target, str(changes)),
        ("osparse_search", "search", *target, "--explain", "growing pears"),
        ("osparse_search", "explain", *target, "--document", document, "growing pears"),
        ("osparse_search", "evaluate", *target, "--dataset", str(dataset.path)),
        ("osparse_monitor", "status", "--cluster", server.url),
        ("osparse_monitor", "doctor", "--cluster", server.url),
        ("osparse_deploy", "deploy", *target, second),
        ("osparse_deploy", "rollback", *target),
        ("osparse_deploy", "undeploy", *target, "--keep", "0"),
    ):
        assert osparse(patch, user, *arguments) == 0, arguments


def roles_of(user: str) -> dict[str, Role]:
    more = {"osparse_monitor": ROLES["osparse_monitor"]} if user == "osparse_deploy" else {}
    return {user: ROLES[user], **more}


def test_every_command_works_with_its_role_and_uses_all_of_it(
    small_bundle: Bundle, other_bundle: Bundle, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roles = {name: role for name, role in ROLES.items() if name != "osparse_adopt"}  # see test_adopt_operation.py
    used: dict[str, set[Needed]] = {name: set() for name in roles}
    for plugins in (ML_PLUGINS, ()):
        with secured_server(plugins) as server:
            for name in roles:
                server.add_user(name, roles_of(name))
            everything(server, (small_bundle, other_bundle), dataset, tmp_path, monkeypatch)
            for user, permission in server.used:
                used[user].add(permission)
    for name, role in roles.items():
        actions = {permission.action for permission in used[name]}
        listed = {*role.cluster, *(action for part in role.indices for action in part["allowed_actions"])}
        assert listed - actions - ONLY_SOMETIMES.keys() == set(), f"{name} grants what no command used"


@PLUGINS
def test_a_reader_cannot_write(plugins: tuple[str, ...], small_bundle: Bundle, tmp_path: Path) -> None:
    with secured_server(plugins) as server:
        deploy(small_bundle, as_user(server), "products")
        server.add_user("reader", {"osparse_search": ROLES["osparse_search"]})
        path = tmp_path / "rows.jsonl"
        path.write_text('{"id": "1", "text": "growing pears"}\n', encoding="utf-8")
        with pytest.raises(AccessError, match=r"no permissions for \[indices:.*\] and User \[name=reader, backend_ro"):
            index_documents(as_user(server, "reader", "pass"), "products", [path])
        assert not server.indices[f"products-{small_bundle.short}"].documents


def test_credentials_that_are_missing_or_wrong(secured: SecuredServer, small_bundle: Bundle) -> None:
    for cluster in (Cluster(secured.url), as_user(secured, "admin", "wrong")):
        with pytest.raises(AccessError, match=r"requires credentials \(401") as refused:
            deploy(small_bundle, cluster, "products")
        assert "wrong" not in str(refused.value)


def test_the_missing_permission_is_named_as_the_plugin_does(secured: SecuredServer) -> None:
    secured.add_user("alice", {})
    secured.users["alice"].backend_roles.append("staff")
    answer = as_user(secured, "alice", "pass").request("GET", "/products/_search", allow=(403,))
    reason = (
        "no permissions for [indices:data/read/search] and User [name=alice, backend_roles=[staff], "
        "requestedTenant=null]"
    )
    error = {"type": "security_exception", "reason": reason}
    assert answer.status == 403 and answer.body == {"error": {"root_cause": [error], **error}, "status": 403}


def restricted(server: SecuredServer, **restriction: object) -> Cluster:
    """As a user who has the read-only role with a restriction."""
    role = ROLES["osparse_search"]
    parts = [{**part, **(restriction if "products" in part["index_patterns"] else {})} for part in role.indices]
    server.add_user("reader", {"restricted": Role(role.cluster, parts)})
    return as_user(server, "reader", "pass")


@PLUGINS
@pytest.mark.parametrize("fls", [["~sparse_*"], ["title", "text", "lang"]])
def test_a_hidden_vector_field_is_said_and_not_scored(
    fls: list[str], plugins: tuple[str, ...], small_bundle: Bundle, dataset: Dataset
) -> None:
    with secured_server(plugins) as server:
        admin = as_user(server)
        deploy(small_bundle, admin, "products")
        index_documents(admin, "products", [dataset.path])
        reader, data = restricted(server, fls=fls), open_benchmark(dataset.path, "test")
        for ask in (lambda: Searcher(reader, "products"), lambda: evaluate(data, cluster=reader, index="products")):
            with pytest.raises(ClusterError, match=rf"do not see the field {FIELD} of products-.*field-level security"):
                ask()
        assert Searcher(admin, "products").search("growing pears").hits is not None


def test_hidden_documents_are_said(secured: SecuredServer, small_bundle: Bundle, dataset: Dataset) -> None:
    admin = as_user(secured)
    deploy(small_bundle, admin, "products")
    index_documents(admin, "products", [dataset.path])
    data = open_benchmark(dataset.path, "test")
    assert not [n for n in evaluate(data, cluster=admin, index="products").notes if "not those of the dataset" in n]
    report = evaluate(data, cluster=restricted(secured, dls={"term": {"lang": "en"}}), index="products")
    assert any("the figures are not those of the dataset" in note for note in report.notes)
