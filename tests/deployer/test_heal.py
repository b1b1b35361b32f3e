"""Status, heal and doctor: what a cluster is asked, what is put right without the bundle, what cron is told."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from mlcommons_server import Fault, MLCommonsServer, mlcommons_server

from osparse.cli.main import main
from osparse.contracts.bundle import Bundle
from osparse.deployer import Serving, Upgrade, deploy, drift_from, heal, load_rows, other_problems, status, undeploy
from osparse.deployer.health.airgap import downloads
from osparse.deployer.load.documents import DocumentRow
from osparse.errors import ClusterError

from .conftest import client


def osparse(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    return int(stopped.value.code or 0)


def test_status_says_where_models_run(server: MLCommonsServer, small_bundle: Bundle) -> None:
    deploy(small_bundle, client(server), "products")
    (found,) = status(client(server))
    assert [model.nodes for model in found.models] == [{"n1": "DEPLOYED"}] * 2
    assert all(model.memory == 1_200_000 for model in found.models) and "(on n1 DEPLOYED, 1 MB a node)" in str(found)
    client(server).request("PUT", "/products/_doc/1", body={"text": "x"})
    assert status(client(server))[0].size > 0


def test_heal_redeploys_and_rewires(server: MLCommonsServer, small_bundle: Bundle, tmp_path: Path) -> None:
    deploy(small_bundle, client(server), "products")
    wanted = server.state()
    server.restart()
    client(server).request("PUT", "/products/_settings", body={"index.default_pipeline": "_none"})
    before = server.state()
    planned = heal(client(server), plan_only=True)
    assert len(planned) == 3 and server.state() == before and not server.runtimes
    done = heal(client(server), "products")
    assert [one.what.split()[0] for one in done] == ["put", "deploy", "deploy"] and not any(o.problem for o in done)
    assert server.state() == wanted and status(client(server))[0].ready
    assert heal(client(server)) == []


def test_what_cannot_be_healed_is_said_and_the_rest_goes_on(server: MLCommonsServer, small_bundle: Bundle) -> None:
    deploy(small_bundle, client(server), "products")
    server.restart()
    server.fail_deploy = lambda name: "Native Memory Circuit Breaker is open" if "encoder" in name else None
    encoder, tokenizer = heal(client(server))
    assert encoder.problem and "native_memory_threshold" in encoder.problem and tokenizer.problem is None


def test_exit_codes_for_cron(
    server: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    target = ("--cluster", server.url)
    deploy(small_bundle, client(server), "products")
    assert osparse("status", *target, "--bundle", str(small_bundle.path)) == 0
    assert osparse("status", *target, "--bundle", str(other_bundle.path)) == 3
    assert f"products serves bundle tiny, fingerprint {small_bundle.short}" in capsys.readouterr().out
    server.restart()
    assert osparse("status", *target) == 1
    assert osparse("status", *target, "--heal", "--plan") == 1
    assert osparse("status", *target, "--heal", "--json") == 0
    shown = capsys.readouterr().out.splitlines()[-1]
    assert [one["problem"] for one in json.loads(shown)["healed"]] == [None, None]
    assert osparse("status", *target, "--plan") == 2
    assert osparse("status", "--cluster", "http://127.0.0.1:9") == 1


def test_an_index_that_served_before_is_no_fault(
    core: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle
) -> None:
    deploy(small_bundle, client(core), "products")
    deploy(other_bundle, client(core), "products")
    found = {one.index: one for one in status(client(core))}
    assert all(one.ready for one in found.values())
    assert "it served products before" in str(found[f"products-{small_bundle.short}"])
    assert drift_from(list(found.values()), other_bundle) == []
    core.indices[f"products-{small_bundle.short}"].aliases.clear()
    assert all(one.ready for one in status(client(core)))


def test_a_pipeline_that_names_another_model_is_a_problem(server: MLCommonsServer, small_bundle: Bundle) -> None:
    deploy(small_bundle, client(server), "products")
    (pipeline,) = server.ingest.values()
    pipeline["processors"][1]["sparse_encoding"]["model_id"] = "stranger"
    (found,) = status(client(server))
    assert not found.ready and "names another model than its encoder" in str(found)
    deploy(small_bundle, client(server), "products")
    assert status(client(server))[0].ready


def test_doctor_says_what_an_air_gapped_node_needs(
    server: MLCommonsServer, small_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    server.persistent["plugins.ml_commons.max_model_on_node"] = "3"
    deploy(small_bundle, client(server), "products")
    assert osparse("doctor", "--cluster", server.url) == 0
    shown = capsys.readouterr().out
    place = "/var/lib/opensearch/ml_cache/pytorch/2.5.1-cpu-precxx11-linux-x86_64/0.31.1-libdjl_torch.so"
    assert (
        f"https://publish.djl.ai/pytorch/2.5.1/jnilib/0.31.1/linux-x86_64/cpu-precxx11/libdjl_torch.so -> {place}"
        in shown
    )
    assert "runs 2 models of 3" in shown and "node n1: heap 40 % in use, memory 50 % in use, 9.0 GB of disk" in shown
    with mlcommons_server(plugins=()) as core:
        assert osparse("doctor", "--cluster", core.url) == 0
    assert "publish.djl.ai" not in capsys.readouterr().out, "without ML Commons nothing is fetched"


@pytest.mark.parametrize(("version", "torch", "djl"), [((3, 8), "2.5.1", "0.31.1"), ((2, 19), "1.13.1", "0.31.1"),
                                                       ((2, 17), "1.13.1", "0.28.0"), ((2, 13), "1.13.1", "0.21.0")])  # fmt: skip
def test_runtimes_by_version(version: tuple[int, int], torch: str, djl: str) -> None:
    listed, files, bridge = downloads(version, "aarch64", "/data/")
    assert listed.place == f"/data/ml_cache/pytorch/{torch}.txt" and "linux-aarch64" in files.place
    assert bridge.place.endswith(f"/{djl}-libdjl_torch.so")


@pytest.mark.parametrize(
    "choices",
    [
        {},
        {"two_phase": True, "skip_existing": True, "prune_ratio": 0.1, "ingest_batch": 4},
        {"chunk_text": True},
        {"field": "semantic", "hybrid": "rrf"},
        {"hybrid": "normalise"},
    ],
)
@pytest.mark.parametrize("harm", ["deleted", "another model"])
def test_heal_rebuilds_pipelines(
    server: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle, choices: dict[str, Any], harm: str
) -> None:
    """From what the index's _meta says, and for one name without disturbing another."""
    deploy(small_bundle, client(server), "products", serving=Serving(**choices))
    deploy(other_bundle, client(server), "shop")
    wanted = server.state()
    short = small_bundle.short
    for store in (server.ingest, server.pipelines):
        for name in [name for name in store if short in name or name == "osparse-hybrid-products"]:
            if harm == "deleted":
                del store[name]
            else:
                store[name] = json.loads(
                    json.dumps(store[name]).replace(next(i for i in server.models if i in json.dumps(store[name])), "x")
                )
    broken = {one.index: one for one in status(client(server))}
    assert broken[f"shop-{other_bundle.short}"].ready and not broken[f"products-{short}"].ready
    before = server.state()
    planned = heal(client(server), plan_only=True)
    assert planned and server.state() == before
    assert [one.what for one in heal(client(server))] == [one.what for one in planned]
    assert server.state() == wanted and all(one.ready for one in status(client(server)))


def test_a_pipeline_whose_model_is_gone_is_not_rebuilt(server: MLCommonsServer, small_bundle: Bundle) -> None:
    deploy(small_bundle, client(server), "products")
    server.pipelines.clear()
    for i in [i for i, model in server.models.items() if model["name"].endswith("tokenizer")]:
        del server.models[i], server.chunks[i]
    (done,) = heal(client(server))
    assert done.problem == "its model is gone; run osparse deploy" and not server.pipelines


def test_a_half_made_upgrade_is_a_problem(
    core: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    deploy(small_bundle, client(core), "products")
    rows = [DocumentRow(str(number), {"text": "growing pears"}) for number in range(3)]
    load_rows(client(core), "products", rows, 3)
    new = deploy(other_bundle, client(core), "products", upgrade=Upgrade(stage=True)).plan.index
    load_rows(client(core), new, rows[:1], 1)
    assert osparse("status", "--cluster", core.url) == 1
    shown = capsys.readouterr().out
    assert "unfinished upgrade, 1 of 3 documents; resume with: osparse deploy BUNDLE --index products" in shown
    assert shown.count("problem:") == 1
    deploy(other_bundle, client(core), "products")
    assert osparse("status", "--cluster", core.url) == 0


def test_a_failed_model_that_no_index_uses_is_shown(
    server: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    deploy(other_bundle, client(server), "shop")
    server.fail_deploy = lambda name: "file not found"
    with pytest.raises(ClusterError):
        deploy(small_bundle, client(server), "products")
    assert osparse("status", "--cluster", server.url) == 1
    shown = capsys.readouterr().out
    assert f"problem: model tiny-{small_bundle.short}-encoder" in shown and "is DEPLOY_FAILED and no index" in shown
    server.fail_deploy = lambda name: None
    deploy(small_bundle, client(server), "products")
    assert other_problems(client(server)) == [] and osparse("status", "--cluster", server.url) == 0


def test_an_index_that_cannot_be_read_does_not_hide_the_others(
    server: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    deploy(small_bundle, client(server), "products")
    deploy(other_bundle, client(server), "shop")
    index = server.indices[f"shop-{other_bundle.short}"]
    index.mappings["_meta"] = {"osparse": {"schema": 1, "mode": "client", "later": True}}
    assert osparse("status", "--cluster", server.url) == 1
    shown = capsys.readouterr().out
    assert f"products-{small_bundle.short}: ready" in shown and f"problem: index {index.name}: its _meta" in shown
    with pytest.raises(ClusterError, match="is not readable"):
        undeploy(client(server), "products", keep=0)


def test_an_index_is_not_attached_to_pipelines_that_could_not_be_rebuilt(
    server: MLCommonsServer, small_bundle: Bundle
) -> None:
    """Its models are gone; searches that work through ``_none`` must go on working."""
    deploy(small_bundle, client(server), "products")
    for store in (server.models, server.chunks, server.runtimes, server.ingest, server.pipelines):
        store.clear()
    detached = {"index.default_pipeline": "_none", "index.search.default_pipeline": "_none"}
    client(server).request("PUT", "/products/_settings", body=detached)
    before = server.state()
    for plan_only in (True, False):
        done = heal(client(server), plan_only=plan_only)
        assert [one.what.split()[0] for one in done] == ["make", "make", "put"] and all(one.problem for one in done)
    assert server.state() == before
    assert client(server).request("GET", "/products/_search", body={"size": 0}).status == 200


def test_an_index_that_cannot_be_healed_does_not_end_it_for_the_others(
    server: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle
) -> None:
    deploy(small_bundle, client(server), "a-first")
    deploy(other_bundle, client(server), "b-second")
    for name in ("a-first", "b-second"):
        client(server).request("PUT", f"/{name}/_settings", body={"index.default_pipeline": "_none"})
    server.faults = [Fault("status", matching="PUT /a-first.*/_settings", times=99, status=400)]
    first, second = heal(client(server))
    assert first.index.startswith("a-first") and first.problem
    assert second.index.startswith("b-second") and second.problem is None
    assert [one.ready for one in sorted(status(client(server)), key=lambda one: one.index)] == [False, True]


def test_an_index_of_another_version_is_a_problem_and_keeps_its_parts(
    server: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle
) -> None:
    deploy(small_bundle, client(server), "products")
    deploy(other_bundle, client(server), "shop")
    meta = server.indices[f"shop-{other_bundle.short}"].mappings["_meta"]["osparse"]
    meta["schema"] = 2
    before = server.state()
    said = "made by another version of osparse .schema 2, this one reads 1"
    (problem,) = other_problems(client(server))
    assert re.search(said, problem)
    for options in ({"orphans": True}, {"keep": 0, "orphans": True}, {"everything": True}):
        with pytest.raises(ClusterError, match=said):
            undeploy(client(server), "products", **options)
    assert server.state() == before
