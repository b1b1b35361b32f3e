"""An index definition of the user's own: merged with what osparse needs, refused by name where it contradicts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from mlcommons_server import MLCommonsServer

from osparse.cli.main import cli
from osparse.contracts.bundle import Bundle
from osparse.deployer import deploy, index_documents
from osparse.deployer.cluster.inherited_settings import flat_settings
from osparse.deployer.index.user_mapping import mapping_of_index, read_user_mapping
from osparse.errors import InputError

from .conftest import TEXTS, client

MINE: dict[str, Any] = {
    "settings": {
        "index": {
            "number_of_shards": "2",
            "codec": "best_compression",
            "analysis": {"analyzer": {"names": {"type": "custom", "tokenizer": "keyword", "filter": ["lowercase"]}}},
        },
        "max_result_window": 20000,
    },
    "mappings": {
        "dynamic": "strict",
        "_meta": {"owner": "shop"},
        "properties": {
            "title": {"type": "text", "analyzer": "names", "fields": {"raw": {"type": "keyword"}}},
            "brand": {"type": "keyword"},
            "price": {"type": "scaled_float", "scaling_factor": 100},
            "date": {"type": "date", "format": "dd.MM.yyyy"},
            "offers": {"type": "nested", "properties": {"price": {"type": "float"}}},
        },
    },
    "aliases": {"everything": {}, "cheap": {"filter": {"range": {"price": {"lt": 10}}}}},
}
ROW = {"id": "1", "text": TEXTS[0], "title": "A", "brand": "Acme", "price": 3.5, "date": "01.02.2026", "offers": []}


@pytest.fixture(params=["ml-commons", "client"])
def running(request: pytest.FixtureRequest, server: MLCommonsServer, core: MLCommonsServer) -> MLCommonsServer:
    return server if request.param == "ml-commons" else core


def write(path: Path, body: Any) -> Path:
    path.write_text(json.dumps(body), encoding="utf-8")
    return path


def with_part(part: str, **values: Any) -> dict[str, Any]:
    return {**MINE, part: {**MINE[part], **values}}


def test_both_are_in_the_index(running: MLCommonsServer, small_bundle: Bundle, tmp_path: Path) -> None:
    cluster, file = client(running), write(tmp_path / "mine.json", MINE)
    assert "with the fields and settings of" in str(
        deploy(small_bundle, cluster, "products", mapping=file, plan_only=True)
    )
    deploy(small_bundle, cluster, "products", mapping=file)
    index = running.indices[f"products-{small_bundle.short}"]
    properties = index.mappings["properties"]
    for name in ("brand", "price", "date", "offers"):
        assert properties[name] == MINE["mappings"]["properties"][name]
    assert properties["title"]["analyzer"] == "names" and set(properties["title"]["fields"]) == {"raw", "ko", "en"}
    assert properties["sparse_embedding"] == {"type": "rank_features"} and properties["text"]["type"] == "text"
    assert properties["osparse_hash"]["type"] == "keyword"
    assert index.mappings["dynamic"] == "strict" and index.mappings["_meta"]["owner"] == "shop"
    assert set(index.aliases) == {"products", "everything", "cheap"} and index.aliases["cheap"]["filter"]
    said = {name: str(value) for name, value in flat_settings(index.settings).items()}
    assert said["index.number_of_shards"] == "2" and said["index.codec"] == "best_compression"
    assert said["index.max_result_window"] == "20000" and said["index.analysis.analyzer.names.tokenizer"] == "keyword"
    assert said["index.final_pipeline"] == "_none"
    loaded = index_documents(cluster, "products", [write(tmp_path / "d.jsonl", ROW)])
    assert (loaded.indexed, loaded.failed) == (1, 0)
    odd = index_documents(cluster, "products", [write(tmp_path / "d.jsonl", {**ROW, "id": "2", "colour": "red"})])
    assert odd.failed == 1 and "colour" in odd.first_failures[0].reason  # strict is strict
    assert not deploy(small_bundle, cluster, "products", mapping=file).plan.changes


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (with_part("settings", default_pipeline="mine"), "its setting index.default_pipeline is mine, and osparse needs"),
        (with_part("settings", **{"index.final_pipeline": "mine"}), "its setting index.final_pipeline is mine"),
        (with_part("settings", **{"index.blocks.write": True}), "index.blocks.write is true: nothing could be loaded"),
        (with_part("settings", routing_partition_size=3), "routing_partition_size is 3: osparse writes documents without"),
        (with_part("settings", sparse=True), "index.sparse is True, which the field type decides"),
        (with_part("settings", **{"derived_source.enabled": True}), "index.derived_source.enabled is true; osparse needs"),
        (with_part("mappings", _source={"enabled": False}), "_source: enabled false; osparse needs whole documents"),
        (with_part("mappings", _source={"excludes": ["brand"]}), "leaves brand out of _source"),
        (with_part("mappings", _routing={"required": True}), "_routing: required true"),
        (with_part("mappings", enabled=False), "enabled: false: no field could be searched"),
        (with_part("mappings", properties={"sparse_embedding": {"type": "text"}}),
         "its field sparse_embedding is text, and osparse needs rank_features"),
        (with_part("mappings", properties={"sparse_embedding.x": {"type": "text"}}), "lies below sparse_embedding"),
        (with_part("mappings", properties={"text": {"type": "keyword"}}), "its field text is keyword, and osparse needs text"),
        (with_part("mappings", properties={"lang": {"type": "text"}}), "its field lang is text, and osparse needs keyword"),
        (with_part("mappings", properties={"title": {"type": "text", "fields": {"ko": {"type": "keyword"}}}}),
         r"its field title.ko is keyword, and osparse needs text"),
        (with_part("mappings", properties={"osparse_hash": {"type": "keyword"}}), "its field osparse_hash must be"),
        (with_part("aliases", products={"filter": {}}), "its alias products has filter"),
        (with_part("aliases", **{"products-previous": {}}), "the name of the index before the one in use"),
        ({"mappings": [], "settings": {}}, "found a part that is no object"),
        ({"mapping": {}}, "must hold a JSON object with settings, mappings, aliases, found mapping"),
        ([1], "found list"),
    ],
)  # fmt: skip
def test_what_contradicts_is_refused_before_anything_is_sent(
    body: Any, said: str, core: MLCommonsServer, small_bundle: Bundle, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=said):
        deploy(small_bundle, client(core), "products", mapping=write(tmp_path / "mine.json", body))
    assert not [call for call in core.calls if call.method in ("PUT", "DELETE")]
    assert not core.indices


def test_every_contradiction_is_named_at_once(core: MLCommonsServer, small_bundle: Bundle, tmp_path: Path) -> None:
    body = {"settings": {"blocks.write": True}, "mappings": {"properties": {"lang": {"type": "text"}}}}
    with pytest.raises(InputError, match=r"mine.json cannot be merged.*blocks.write.*; its field lang is text"):
        deploy(small_bundle, client(core), "products", mapping=write(tmp_path / "mine.json", body))


def test_the_call_and_the_file_must_not_disagree(core: MLCommonsServer, small_bundle: Bundle, tmp_path: Path) -> None:
    file = write(tmp_path / "mine.json", MINE)
    arguments = ["deploy", str(small_bundle.path), "--cluster", core.url, "--index", "products", "--mapping", str(file)]
    wrong = CliRunner().invoke(cli, [*arguments, "--shards", "3"])
    assert "its setting index.number_of_shards is 2, and the call asks for 3" in str(wrong.exception)
    assert CliRunner().invoke(cli, [*arguments, "--shards", "2"]).exit_code == 0


def test_the_answers_of_the_server_are_read_as_well(tmp_path: Path) -> None:
    """GET INDEX, GET INDEX/_mapping, and the mappings alone; without what the server gave the index."""
    settings = {"index": {"uuid": "x", "creation_date": "1", "version": {"created": "1"}, "provided_name": "old",
                          "codec": "default"}}  # fmt: skip
    whole = read_user_mapping(write(tmp_path / "a", {"old": {**MINE, "settings": settings}}))
    assert whole.settings == {"index.codec": "default"} and set(whole.aliases) == {"everything", "cheap"}
    for body in ({"old": {"mappings": MINE["mappings"]}}, MINE["mappings"]):
        assert read_user_mapping(write(tmp_path / "b", body)).mappings == MINE["mappings"]
    made: dict[str, Any] = {
        "mappings": {"_meta": {"osparse": {}, "osparse_refresh": None, "owner": 1}, "properties": {}}
    }
    assert read_user_mapping(write(tmp_path / "c", made)).mappings["_meta"] == {"owner": 1}


def test_an_index_that_exists_takes_new_fields_and_nothing_else(
    running: MLCommonsServer, small_bundle: Bundle, tmp_path: Path
) -> None:
    cluster = client(running)
    deploy(small_bundle, cluster, "products")
    index = running.indices[f"products-{small_bundle.short}"]
    more = write(tmp_path / "more.json", {"mappings": {"properties": {"brand": {"type": "keyword"}}}})
    done = deploy(small_bundle, cluster, "products", mapping=more)
    assert [finding.why for finding in done.plan.changes] == ["its mapping lacks brand"]
    assert index.mappings["properties"]["brand"] == {"type": "keyword"} and "text" in index.mappings["properties"]
    assert not deploy(small_bundle, cluster, "products", mapping=more).plan.changes
    for body, said in (
        ({"properties": {"brand": {"type": "long"}}}, "says that brand is long, and in the index, which exists, it is keyword"),
        ({"mappings": {}, "settings": {"number_of_shards": 4}}, "index.number_of_shards is 4, and in the index, which exists"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=said):
            deploy(small_bundle, cluster, "products", mapping=write(tmp_path / "other.json", body))


def test_an_upgrade_takes_fields_and_settings_over(
    running: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle, tmp_path: Path
) -> None:
    cluster = client(running)
    deploy(small_bundle, cluster, "products", mapping=write(tmp_path / "mine.json", MINE))
    index_documents(cluster, "products", [write(tmp_path / "d.jsonl", ROW)])
    deploy(other_bundle, cluster, "products")
    old, new = (running.indices[f"products-{bundle.short}"] for bundle in (small_bundle, other_bundle))
    assert new.mappings["properties"] == old.mappings["properties"] and new.mappings["dynamic"] == "strict"
    pipelines = ("default_pipeline", "search.default_pipeline")
    before, after = (
        {name: str(value) for name, value in flat_settings(one.settings).items() if not name.endswith(pipelines)}
        for one in (old, new)
    )
    assert before == after
    assert new.mappings["_meta"]["osparse"]["fingerprint"] == other_bundle.fingerprint
    assert {i: d["price"] for i, d in new.documents.items()} == {"1": 3.5}
    assert "cheap" not in new.aliases  # aliases of others move by `carry_aliases`
    assert set(new.aliases) == {"products"}


def test_what_the_call_names_counts_for_more_than_the_index_before(
    core: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle
) -> None:
    deploy(small_bundle, client(core), "products", serving={"shards": 2, "replicas": 1})
    deploy(other_bundle, client(core), "products", serving={"replicas": 0})
    said = core.indices[f"products-{other_bundle.short}"].settings
    assert (str(said["number_of_shards"]), said["auto_expand_replicas"], str(said["number_of_replicas"])) == (
        "2",
        "false",
        "0",
    )


def test_what_osparse_made_of_an_index_is_not_the_users() -> None:
    found: dict[str, Any] = {
        "settings": {"index": {"sparse": "true", "blocks": {"write": "true"}, "default_pipeline": "p", "codec": "x",
                               "number_of_replicas": "1", "auto_expand_replicas": "0-1", "refresh_interval": "30s"}},
        "mappings": {"_meta": {"osparse_refresh": "1s"}, "_source": {"enabled": True},
                     "properties": {"text": {"type": "text", "fields": {"ko": {}, "raw": {"type": "keyword"}}}}},
    }  # fmt: skip
    made = mapping_of_index("old", found, None)
    assert made.properties == found["mappings"]["properties"] and "_source" not in made.mappings
    assert made.settings == {"index.codec": "x", "index.auto_expand_replicas": "0-1"}
