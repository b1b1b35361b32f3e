"""Index templates of others: what osparse depends on is its own, the rest is named, and what cannot be is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mlcommons_server import MLCommonsServer

from osparse.contracts.bundle import Bundle
from osparse.deployer import deploy, index_documents
from osparse.deployer.cluster.inherited_settings import source_problem
from osparse.deployer.index.layout import Serving
from osparse.errors import ClusterError, InputError
from osparse.formula.lucene_rounding import score
from osparse.retrieval import explain, search

from .conftest import TEXTS, client

TEMPLATE: dict[str, Any] = {
    "settings": {
        "index": {
            "default_pipeline": "shout",
            "final_pipeline": "shout",
            "search": {"default_pipeline": "gone"},
            "number_of_shards": "3",
            "number_of_replicas": "2",
        },
        "index.codec": "best_compression",
    },
    "mappings": {
        "dynamic": "strict",
        "_source": {"enabled": False},
        "_routing": {"required": True},
        "properties": {"text": {"type": "keyword"}, "brand": {"type": "keyword"}},
    },
    "aliases": {"everything": {}},
}
SHOUT = {"processors": [{"set": {"field": "text", "value": "SHOUTED"}}]}


def write(path: Path) -> Path:
    path.write_text("".join(json.dumps({"id": str(n), "text": t}) + "\n" for n, t in enumerate(TEXTS)), "utf-8")
    return path


def template(server: MLCommonsServer, body: dict[str, Any], *, legacy: bool = False) -> None:
    cluster = client(server)
    cluster.request("PUT", "/_ingest/pipeline/shout", body=SHOUT)
    if legacy:
        cluster.request("PUT", "/_template/old-rules", body={"index_patterns": ["prod*"], **body})
    else:
        for name, priority in (("rules", 7), ("weaker", 1)):
            given = {"index_patterns": ["prod*", "x"], "priority": priority, "template": body}
            cluster.request("PUT", f"/_index_template/{name}", body=given)
        cluster.request("PUT", "/_index_template/elsewhere", body={"index_patterns": ["logs-*"], "template": body})


@pytest.mark.parametrize("plugins", [True, False])
@pytest.mark.parametrize("everything", [False, True])
def test_what_osparse_depends_on_is_not_inherited(
    plugins: bool,
    everything: bool,
    server: MLCommonsServer,
    core: MLCommonsServer,
    small_bundle: Bundle,
    tmp_path: Path,
) -> None:
    """Also in the index of the bundles' parts, which a template for every name would change."""
    running = server if plugins else core
    template(running, TEMPLATE)
    if everything:
        running.index_templates["rules"]["index_patterns"] = ["*"]
    deploy(small_bundle, client(running), "products")
    load = index_documents(client(running), "products", [write(tmp_path / "d.jsonl")])
    assert (load.indexed, load.failed) == (len(TEXTS), 0)
    index = running.indices[f"products-{small_bundle.short}"]
    assert [source["text"] for source in index.documents.values()] == TEXTS
    probes = small_bundle.probes()
    expected = {str(n): score(probes[0].query, probe.document) for n, probe in enumerate(probes)}
    hits = {hit.id: hit.score for hit in search(client(running), "products", TEXTS[0])}
    assert hits == pytest.approx({i: value for i, value in expected.items() if value}, rel=0.01)
    assert explain(client(running), "products", "0", TEXTS[0]).score == pytest.approx(expected["0"], rel=0.01)
    assert index.settings["final_pipeline"] == "_none" and index.settings["number_of_shards"] == 1
    assert not deploy(small_bundle, client(running), "products").plan.changes


@pytest.mark.parametrize("legacy", [False, True])
def test_the_plan_names_the_templates_and_what_they_bring(
    legacy: bool, server: MLCommonsServer, small_bundle: Bundle
) -> None:
    template(server, TEMPLATE, legacy=legacy)
    plan = deploy(small_bundle, client(server), "products", plan_only=True).plan
    why = plan.findings[-1].why
    assert f"index template {'old-rules' if legacy else 'rules'} matches" in why and "elsewhere" not in why
    taken, _, over = why.partition("set by osparse instead: ")
    assert {"alias everything", "field brand", "index.codec"} == set(
        taken.split("taken over: ")[1].strip("; ").split(", ")
    )
    assert "index.default_pipeline" in over and "mapping _source" in over and "index.number_of_replicas" in over
    server.index_templates.clear()
    server.legacy.clear()
    assert "template" not in str(deploy(small_bundle, client(server), "products", plan_only=True).plan)


def test_a_cluster_that_does_not_show_its_templates(server: MLCommonsServer, small_bundle: Bundle) -> None:
    server.forbidden = r"_index_template|/_template"
    assert deploy(small_bundle, client(server), "products").applied


def test_an_index_that_came_out_wrong_is_removed_again(server: MLCommonsServer, small_bundle: Bundle) -> None:
    """A legacy template's lists of left-out fields stay beside what the body says."""
    template(server, {"mappings": {"_source": {"excludes": ["text"]}}}, legacy=True)
    with pytest.raises(ClusterError, match=r"leaves text out of _source.*index template old-rules"):
        deploy(small_bundle, client(server), "products")
    assert f"products-{small_bundle.short}" not in server.indices
    server.legacy.clear()
    assert deploy(small_bundle, client(server), "products").applied


@pytest.mark.parametrize("source", [{"enabled": False}, {"excludes": ["t*"]}, {"includes": ["title"]}])
def test_an_index_without_source_is_refused_in_a_sentence(
    source: dict[str, Any],
    core: MLCommonsServer,
    small_bundle: Bundle,
    other_bundle: Bundle,
    tmp_path: Path,
) -> None:
    deploy(small_bundle, client(core), "products")
    core.indices[f"products-{small_bundle.short}"].mappings["_source"] = source
    path = write(tmp_path / "d.jsonl")
    words = "does not keep its documents as they are given"
    with pytest.raises(ClusterError, match=words):
        index_documents(client(core), "products", [path])
    with pytest.raises(ClusterError, match=words):
        deploy(small_bundle, client(core), "products")
    with pytest.raises(ClusterError, match=words):
        deploy(other_bundle, client(core), "products")
    assert not core.indices[f"products-{small_bundle.short}"].documents


def test_what_an_encoder_makes_may_be_left_out_of_source() -> None:
    mappings = {"mappings": {"_source": {"excludes": ["sparse_embedding", "chunks.*"]}}}
    assert source_problem(mappings, ("sparse_embedding", "chunks")) is None
    assert "sparse_embedding" in str(source_problem(mappings, ("chunks",)))
    assert source_problem({"mappings": {}, "settings": {"index": {"derived_source": {"enabled": "true"}}}}) is not None


@pytest.mark.parametrize("setting", ["default_pipeline", "final_pipeline"])
def test_a_pipeline_put_on_the_index_later_stops_a_load(
    setting: str, core: MLCommonsServer, small_bundle: Bundle, tmp_path: Path
) -> None:
    deploy(small_bundle, client(core), "products")
    client(core).request("PUT", "/products/_settings", body={f"index.{setting}": "shout"})
    with pytest.raises(ClusterError, match=f"index.{setting} is shout, not _none; run osparse deploy again"):
        index_documents(client(core), "products", [write(tmp_path / "d.jsonl")])
    deploy(small_bundle, client(core), "products")
    assert index_documents(client(core), "products", [tmp_path / "d.jsonl"]).indexed == len(TEXTS)


def test_shards_replicas_and_refresh_are_chosen(server: MLCommonsServer, small_bundle: Bundle) -> None:
    chosen = Serving(shards=3, replicas=2, refresh_interval="5s")
    deploy(small_bundle, client(server), "products", serving=chosen)
    settings = server.indices[f"products-{small_bundle.short}"].settings
    assert (settings["number_of_shards"], settings["number_of_replicas"], settings["refresh_interval"]) == (3, 2, "5s")
    assert settings["auto_expand_replicas"] == "false", "or the cluster would choose"
    for same in (chosen, Serving()):
        assert not deploy(small_bundle, client(server), "products", serving=same).plan.changes
    result = deploy(small_bundle, client(server), "products", serving=Serving(replicas=0))
    assert "index.number_of_replicas is 2, not 0" in result.plan.changes[0].why and settings["number_of_replicas"] == 0
    with pytest.raises(ClusterError, match="shards: 3 there, 1 required"):
        deploy(small_bundle, client(server), "products", serving=Serving(shards=1))
    with pytest.raises(InputError, match="must be at least 1, got 0.*at least 0, got -1.*got '5 minutes'"):
        deploy(small_bundle, client(server), "q", serving=Serving(shards=0, replicas=-1, refresh_interval="5 minutes"))


def test_long_texts_may_have_more_words_than_the_server_counts_by_itself(
    server: MLCommonsServer, small_bundle: Bundle, tmp_path: Path
) -> None:
    deploy(small_bundle, client(server), "products", serving=Serving(chunk_text=True))
    path = tmp_path / "d.jsonl"
    path.write_text(json.dumps({"id": "long", "text": "pear " * 10_001}) + "\n", encoding="utf-8")
    assert index_documents(client(server), "products", [path], failures=tmp_path / "failed.jsonl").indexed == 1
    settings = server.indices[f"products-{small_bundle.short}"].settings
    assert int(settings["analyze.max_token_count"]) > 10_000
    del settings["analyze.max_token_count"]  # as an earlier version left it
    result = deploy(small_bundle, client(server), "products", serving=Serving(chunk_text=True))
    assert "max_token_count" in result.plan.changes[0].why and int(settings["analyze.max_token_count"]) > 10_000
