"""An index of forty fields is taken over on the real node while a writer and readers use it all the time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lookup_bundle import TEXTS, make_lookup_bundle
from migration_work import Reader, Writer, working

from osparse.contracts.bundle import Bundle
from osparse.contracts.deployment import FIELD, feature_name
from osparse.deployer import Adoption, Cluster, Upgrade, deploy, open_cluster, rollback, status
from osparse.deployer.adopt.changes import BySequence
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.load.documents import HASH_FIELD
from osparse.encoders.onnx_encoder import OnnxEncoder
from osparse.errors import InputError
from osparse.retrieval import adoption_gate
from osparse.retrieval.searcher import Searcher

pytestmark = [pytest.mark.e2e, pytest.mark.network]
TEXT = {"text_template": "{name}\n{about.long}"}
KINDS = {
    "keyword": lambda n: f"value {n % 7}",
    "long": lambda n: n,
    "double": lambda n: n / 4,
    "date": lambda n: f"2026-01-{n % 28 + 1:02}T00:00:00Z",
    "boolean": lambda n: n % 2 == 0,
    "ip": lambda n: f"10.0.0.{n % 250}",
    "geo_point": lambda n: {"lat": n % 80, "lon": n % 170},
    "integer_range": lambda n: {"gte": n, "lt": n + 5},
}
"""Type -> a value of it; five fields of each, beside text, an object, a nested field and a date of change."""
FIELDS = {f"{kind}{number}": kind for kind in KINDS for number in range(5)}
BODY: dict[str, Any] = {
    "settings": {
        "number_of_shards": 3,
        "number_of_replicas": 0,
        "analysis": {"analyzer": {"names": {"type": "custom", "tokenizer": "standard", "filter": ["lowercase"]}}},
    },
    "mappings": {
        "dynamic": "strict",
        "_meta": {"owner": "shop"},
        "properties": {
            "name": {"type": "text", "analyzer": "names", "fields": {"raw": {"type": "keyword"}}},
            "about": {"properties": {"long": {"type": "text"}, "short": {"type": "text"}}},
            "offers": {"type": "nested", "properties": {"price": {"type": "float"}}},
            "changed": {"type": "date"},
            **{name: {"type": kind} for name, kind in FIELDS.items()},
        },
    },
}


def product(number: int) -> dict[str, Any]:
    return {
        "name": f"{TEXTS[number % len(TEXTS)]} {number}",
        "about": {"long": f"about {number}", "short": "same"},
        "offers": [{"price": number / 2}, {"price": number}],
        "changed": 1_770_000_000_000 + number,
        **{name: KINDS[kind](number) for name, kind in FIELDS.items()},
    }


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_lookup_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture
def cluster(node: Any) -> Iterator[Cluster]:
    cluster = open_cluster(node.url)
    yield cluster
    api = ClusterApi(cluster)
    for name in cluster.request("GET", "/_all/_settings").body:
        if name.startswith("shelf"):
            api.delete_index(name)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def filled(cluster: Cluster, index: str, count: int, **parts: Any) -> dict[str, dict[str, Any]]:
    cluster.request("PUT", f"/{index}", body={**BODY, **parts})
    documents = {str(n): product(n) for n in range(count)}
    writer = Writer(cluster.url, index, {}, product)
    names = [*documents]
    for start in range(0, count, 500):
        writer.write({name: documents[name] for name in names[start : start + 500]})
    assert not writer.failed
    ClusterApi(cluster).refresh(index)  # or a reader that begins now finds nothing
    return documents


def contents(cluster: Cluster, index: str) -> dict[str, dict[str, Any]]:
    """Every copy of every document: one that were there twice would show."""
    api = ClusterApi(cluster)
    api.refresh(index)
    hits = [hit for page in api.pages(index, 1000, {"excludes": []}) for hit in page]
    found = {hit["_id"]: hit["_source"] for hit in hits}
    assert len(found) == len(hits) == api.count(index)
    return found


def plain(source: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in source.items() if name not in (FIELD, HASH_FIELD, "text")}


def check_vectors(bundle: Bundle, documents: dict[str, dict[str, Any]], style: str) -> None:
    """Each document has the vector of its own text, made here once more."""
    encoder = OnnxEncoder.open(bundle.path / "encoder.onnx.zip")
    texts = [f"{source['name']}\n{source['about']['long']}" for source in documents.values()]
    for (name, source), made in zip(documents.items(), encoder.encode(texts), strict=True):
        expected = {feature_name(token, style): weight for token, weight in made.items()}  # type: ignore[arg-type]
        assert source[FIELD] == pytest.approx(expected, abs=1e-5), name


@pytest.mark.parametrize("replaced", [False, True])
def test_nothing_is_lost_doubled_or_stale_under_a_writer_and_readers(
    cluster: Cluster, bundle: Bundle, replaced: bool
) -> None:
    """Through the alias, or through an index of the very name, whose removal is answered with 503; on three shards."""
    old = "shelf" if replaced else "shelf-v7"
    documents = filled(cluster, old, 900, **({} if replaced else {"aliases": {"shelf": {}}}))
    writer = Writer(cluster.url, "shelf", documents, product)
    writer.pause = 0.05
    words = {"size": 1, "query": {"match": {"name": "growing pears"}}}
    readers = [Reader(cluster.url, "shelf", body, repeats=replaced) for body in ({"size": 1}, words)]
    with working(writer, *readers):
        result = deploy(bundle, cluster, "shelf", serving=TEXT, adoption=Adoption(old, replace_index=replaced))
        threading.Event().wait(0.5)
        new = result.plan.index
        deploy(bundle, cluster, "shelf", serving=TEXT, adoption=Adoption(old, replace_index=replaced))
    assert [*writer.failed, *(problem for reader in readers for problem in reader.failed)] == []
    assert all(len(reader.seconds) > 20 and {*reader.indices} == {old, new} for reader in readers)
    last = deploy(bundle, cluster, "shelf", serving=TEXT, adoption=Adoption(old, replace_index=replaced))
    served = contents(cluster, "shelf")
    assert {name: plain(source) for name, source in served.items()} == writer.expected
    assert writer.acknowledged > 100 and writer.expected != documents
    check_vectors(bundle, served, last.deployment.key_style)
    mapped = ClusterApi(cluster).get_index(new)[new]  # type: ignore[index]
    assert all(mapped["mappings"]["properties"][name]["type"] == kind for name, kind in FIELDS.items())
    assert mapped["settings"]["index"]["number_of_shards"] == "3" and mapped["mappings"]["_meta"]["owner"] == "shop"
    assert status(cluster, "shelf")[0].ready
    hits = Searcher(cluster, "shelf").search("growing pears").hits
    assert "growing pears" in {**served[hits[0].id]}["name"]
    before = "shelf-original" if replaced else old
    with working(*(again := [Reader(cluster.url, "shelf", {"size": 1})])):
        assert rollback(cluster, "shelf").serves == before
        assert rollback(cluster, "shelf").serves == new
    assert again[0].failed == []


def test_changes_are_found_by_a_date_field_too(cluster: Cluster, bundle: Bundle) -> None:
    documents = filled(cluster, "shelf-v7", 300, aliases={"shelf": {}})
    writer = Writer(cluster.url, "shelf", documents, lambda n: product(1_000_000 + n))
    adoption = Adoption("shelf", changed_field="changed")
    with working(writer):
        deploy(bundle, cluster, "shelf", serving=TEXT, adoption=adoption)
    assert not writer.failed
    served = {name: plain(source) for name, source in contents(cluster, "shelf").items()}
    assert served == writer.expected


def test_the_gate_asks_the_old_index_as_it_was_asked(cluster: Cluster, bundle: Bundle, dataset: Any) -> None:
    body = {"mappings": {"properties": {"name": {"type": "text"}}}, "aliases": {"shelf": {}}}
    cluster.request("PUT", "/shelf-v7", body=body)
    for name, text in dataset.documents.select("id", "text").collect().iter_rows():
        cluster.request("PUT", f"/shelf-v7/_doc/{name}", body={"name": text})
    query = Path("query.json")
    query.write_text('{"query": {"match": {"name": {"query": "{{text}}", "operator": "or"}}}}')
    for template in (None, query):
        gate = adoption_gate(cluster, dataset.path, "shelf", query=template, margin=1.0)
        ClusterApi(cluster).refresh("shelf-v7")
        assert 0 < gate.measure("shelf-v7") <= 1
    result = deploy(bundle, cluster, "shelf", serving={"text_template": "{name}"}, adoption=Adoption("shelf"),
                    upgrade=Upgrade(gate=gate))  # fmt: skip
    assert any("in the old index" in line and "nDCG@10" in line for line in result.gate)


def test_documents_with_a_routing_of_their_own_are_refused(cluster: Cluster, bundle: Bundle) -> None:
    filled(cluster, "shelf-v7", 3)
    cluster.request("PUT", "/shelf-v7/_doc/routed", params={"routing": "k", "refresh": "true"}, body=product(1))
    with pytest.raises(InputError, match="have a routing of their own"):
        deploy(bundle, cluster, "shelf", serving=TEXT, adoption=Adoption("shelf-v7"))


def test_numbers_without_documents_are_passed_over(cluster: Cluster) -> None:
    """Shards whose documents were written over and over, and deleted."""
    documents = filled(cluster, "shelf-v7", 700)
    for number in range(3):
        filled_again: dict[str, dict[str, Any] | None] = {str(n): product(n + number) for n in range(700)}
        Writer(cluster.url, "shelf-v7", {}, product).write(filled_again)
    Writer(cluster.url, "shelf-v7", {}, product).write(dict.fromkeys([str(n) for n in range(0, 700, 2)]))
    api = ClusterApi(cluster)
    api.refresh("shelf-v7")
    changes = BySequence(api, "shelf-v7", ("*",))
    read = [hit["_id"] for hits, _ in changes.pages({}, changes.now()) for hit in hits]
    assert sorted(read) == sorted(str(n) for n in range(1, 700, 2)) and len(documents) == 700
