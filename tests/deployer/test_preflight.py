"""A plan says whether it would go through: each obstacle is named, and the deploy that follows fails exactly then."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from mlcommons_server import ML_PLUGINS, MLCommonsServer
from security_actions import needed
from security_plugin import Role, SecuredServer, secured_server

from osparse.contracts.bundle import Bundle
from osparse.deployer import ModelOptions, deploy, doctor
from osparse.deployer.preflight.capacity import reserve
from osparse.deployer.preflight.permissions import deploy_calls
from osparse.deployer.preflight.requests import Call
from osparse.errors import ClusterError

from .conftest import client
from .test_security import PLUGINS, ROLES, as_user, roles_of

READ_ONLY = "cluster.blocks.read_only"


def blocked(server: MLCommonsServer, bundle: Bundle, **options: Any) -> list[str]:
    """What stands in the way of deploying ``bundle``; nothing that changes the cluster is sent."""
    before, calls = server.state(), len(server.calls)
    result = deploy(bundle, client(server), "products", plan_only=True, **options)
    assert server.state() == before and not [c for c in server.calls[calls:] if c.method in ("PUT", "DELETE")]
    assert result.preflight is not None
    shown = str(result)
    assert ("it would not go through" in shown) == bool(result.preflight.blocked)
    assert result.to_json()["preflight"]["goes_through"] == (not result.preflight.blocked)
    return result.preflight.blocked


def test_a_cluster_in_order(server: MLCommonsServer, core: MLCommonsServer, small_bundle: Bundle) -> None:
    for running in (server, core):
        assert blocked(running, small_bundle) == []
        assert deploy(small_bundle, client(running), "products").preflight is None, "only a plan looks ahead"
        assert blocked(running, small_bundle) == []


def set_cluster(name: str, value: str) -> Callable[[MLCommonsServer], None]:
    return lambda server: server.persistent.update({name: value})


def set_index(name: str) -> Callable[[MLCommonsServer], None]:
    def change(server: MLCommonsServer) -> None:
        for index in server.indices.values():
            index.settings[name.removeprefix("index.")] = "true"

    return change


def set_state(name: str, value: object) -> Callable[[MLCommonsServer], None]:
    return lambda server: setattr(server, name, value)


def shards(server: MLCommonsServer) -> None:
    server.persistent["cluster.max_shards_per_node"] = "2"


@pytest.mark.parametrize(
    ("obstacle", "said"),
    [
        (set_cluster(READ_ONLY, "true"), rf'whole cluster is read-only .*PUT /_cluster/settings .*"{READ_ONLY}": null'),
        (set_cluster("cluster.blocks.create_index", "true"), "makes no new indices"),
        (set_index("index.blocks.write"), r"index products-\w+ has the block index.blocks.write: remove it with PUT"),
        (set_index("index.blocks.read_only_allow_delete"), "has the block index.blocks.read_only_allow_delete"),
        (set_index("index.blocks.read"), "has the block index.blocks.read:"),
        (set_state("breaker_bytes", 1_100_000_000), "parent circuit breaker stands at 110% of 1.0 GB"),
        (set_state("disk_free", 2_000_000_000), "the bundle and the copy of products-.* free disk space"),
        (shards, "2 shards of at most 2, and 1 more: delete indices, or raise cluster.max_shards_per_node"),
        (set_cluster("plugins.ml_commons.max_model_on_node", "3"), "at most 3 may run there.*--|allow_settings"),
        (set_cluster("plugins.ml_commons.only_run_on_ml_node", "true"), "models may only run on ML nodes"),
    ],
)
def test_an_obstacle_to_an_upgrade_is_named(
    obstacle: Callable[[MLCommonsServer], None],
    said: str,
    server: MLCommonsServer,
    small_bundle: Bundle,
    other_bundle: Bundle,
) -> None:
    deploy(small_bundle, client(server), "products")
    assert blocked(server, other_bundle) == []
    obstacle(server)
    (first, *_) = blocked(server, other_bundle)
    assert re.search(said, first, re.DOTALL), first


def test_settings_that_may_be_changed_block_nothing(server: MLCommonsServer, small_bundle: Bundle) -> None:
    server.persistent["plugins.ml_commons.only_run_on_ml_node"] = "true"
    assert len(blocked(server, small_bundle)) == 1
    assert blocked(server, small_bundle, models=ModelOptions(allow_settings=True)) == []
    assert deploy(small_bundle, client(server), "products", models=ModelOptions(allow_settings=True)).applied


LEFT_OUT = {"mappings": {"_source": {"excludes": ["secret"]}}}
HARMLESS = {"settings": {"index.codec": "best_compression"}, "mappings": {"_source": {"enabled": False}}}


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("template", [LEFT_OUT, HARMLESS])
def test_a_template_blocks_where_the_deploy_fails(
    template: dict[str, Any], legacy: bool, core: MLCommonsServer, small_bundle: Bundle
) -> None:
    if legacy:
        core.legacy["rules"] = {"index_patterns": ["prod*"], **template}
    else:
        core.index_templates["rules"] = {"index_patterns": ["prod*"], "template": template}
    problems = blocked(core, small_bundle)
    try:
        deploy(small_bundle, client(core), "products")
    except ClusterError as problem:
        assert "leaves secret out of _source" in str(problem) and "leaves secret out of _source" in problems[0]
        assert "index template rules" in problems[0]
    else:
        assert problems == []


@pytest.mark.parametrize(("mark", "free"), [("90%", 10.0), ("0.9", 10.0), ("10b", 10.0), ("1kb", 1000.0)])
def test_watermarks_are_shares_or_bytes(mark: str, free: float) -> None:
    assert reserve(mark, 100.0) == pytest.approx(free)


# permissions


def without(role: Role, action: str) -> Role:
    parts = [{**p, "allowed_actions": [a for a in p["allowed_actions"] if a != action]} for p in role.indices]
    return Role([a for a in role.cluster if a != action], parts)


@PLUGINS
def test_missing_permissions_are_named_before_anything_is_sent(plugins: tuple[str, ...], small_bundle: Bundle) -> None:
    lacking = "indices:admin/create"
    with secured_server(plugins) as server:
        server.add_user("deployer", roles_of("osparse_deploy"))
        server.add_user(
            "other", {"less": without(ROLES["osparse_deploy"], lacking), "monitor": ROLES["osparse_monitor"]}
        )
        for user, missing in (("deployer", False), ("other", True)):
            result = deploy(small_bundle, as_user(server, user, "pass"), "products", plan_only=True)
            assert result.preflight is not None and not server.indices
            assert bool(result.preflight.blocked) == missing, result.preflight
        assert f"user other (roles: less, monitor) lacks permissions that deploy needs: {lacking} (PUT /" in str(result)
        shown = str(doctor(as_user(server, "other", "pass"), "products"))
        assert f"lacks permissions that deploy needs: {lacking}" in shown


def test_a_plugin_that_cannot_check_is_said_and_nothing_is_changed(small_bundle: Bundle) -> None:
    """Before 3.2, and where a proxy drops the parameter: the first call would be made, so it is one that reads."""
    with secured_server(()) as server:
        for knows in (False, True):
            server.checks_permissions = knows
            server.ignores_checks = knows
            result = deploy(small_bundle, as_user(server), "products", plan_only=True)
            assert "does not say which calls are permitted" in str(result) and not server.indices
            assert not [call for call in server.calls if call.method in ("PUT", "DELETE")]


@PLUGINS
def test_the_dry_run_asks_for_every_permission_that_a_deploy_uses(
    plugins: tuple[str, ...], small_bundle: Bundle, other_bundle: Bundle
) -> None:
    """What the recorded calls of a deploy and of an upgrade needed, less what their plan had read already."""

    def used(server: SecuredServer, bundle: Bundle, **options: Any) -> set[str]:
        server.used.clear()
        deploy(bundle, as_user(server), "products", **options)
        return {permission.action for _, permission in server.used}

    old, ml = f"products-{small_bundle.short}", plugins == ML_PLUGINS
    with secured_server(plugins) as server:
        for bundle, place in ((small_bundle, None), (other_bundle, old)):
            read = used(server, bundle, plan_only=True)
            calls = deploy_calls("products", "products-new", place, ml=ml)
            asked = {p.action for call in calls for p in needed(call.method, call.path, sent(call))}
            left = used(server, bundle) - read - asked
            assert not left, "neither the plan nor the dry run would have found these missing"


def sent(call: Call) -> bytes:
    if call.body is None or isinstance(call.body, bytes):
        return call.body or b""
    return json.dumps(call.body).encode()
