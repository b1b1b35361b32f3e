"""Filters, sorting, pages, fields, highlights and aggregations against every layout of an index, on the local server."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from mlcommons_server import MLCommonsServer

from osparse.cli.main import main
from osparse.contracts.bundle import Bundle
from osparse.deployer import deploy, index_documents
from osparse.deployer.index.layout import Serving
from osparse.errors import ClusterError, InputError
from osparse.retrieval import Searcher, explain

from .conftest import TEXTS, client

LAYOUTS = {
    "rank_features": Serving(),
    "two-phase": Serving(two_phase=True),
    "sparse_vector": Serving(field="sparse_vector"),
    "chunks": Serving(chunk_text=True),
    "semantic": Serving(field="semantic"),
}
QUERY = TEXTS[0]
CHEAP = 'price < 60 and brand in (acme, "Bolt & Co")'
DOCUMENTS = 40


def rows() -> list[dict[str, Any]]:
    numbers = random.Random(7)
    words = " ".join(TEXTS).split()
    return [
        {
            "id": f"p{n}", "text": " ".join(numbers.sample(words, 5)), "lang": "en" if n % 4 else "ko", "price": n * 2.5,
            "brand": ["acme", "Bolt & Co", "other"][n % 3], "released": f"2024-{n % 12 + 1:02d}-15",
            **({"stock": n % 5} if n % 2 else {}), "spec": {"size": "SML"[n % 3]},
        }
        for n in range(DOCUMENTS)
    ]  # fmt: skip


def loaded(
    server: MLCommonsServer, bundle: Bundle, serving: Serving, folder: Path, mode: Any = "ml-commons"
) -> Searcher:
    deploy(bundle, client(server), "products", serving=serving, mode=mode)
    path = folder / "d.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows()), encoding="utf-8")
    assert index_documents(client(server), "products", [path]).failed == 0
    return Searcher(client(server), "products")


@pytest.fixture(params=[*LAYOUTS, "client"])
def searcher(request: pytest.FixtureRequest, small_bundle: Bundle, tmp_path: Path) -> Searcher:
    kind = request.param
    server = request.getfixturevalue("core" if kind == "client" else "server")
    mode = "client" if kind == "client" else "ml-commons"
    return loaded(server, small_bundle, LAYOUTS.get(kind, Serving()), tmp_path, mode)


def test_every_layout_filters_sorts_and_pages(searcher: Searcher) -> None:
    everything = searcher.search(QUERY, top=DOCUMENTS)
    by_id = {row["id"]: row for row in rows()}
    cheap = [h for h in everything.hits if by_id[h.id]["price"] < 60 and by_id[h.id]["brand"] != "other"]
    assert 3 < len(cheap) < len(everything.hits)
    found = searcher.search(QUERY, top=DOCUMENTS, filter=CHEAP)
    assert [(h.id, h.score) for h in found.hits] == [(h.id, h.score) for h in cheap], "the scores stay"
    asked = {"range": {"price": {"lt": 60}}}, {"terms": {"brand": ["acme", "Bolt & Co"]}}
    assert searcher.search(QUERY, top=DOCUMENTS, filter=asked).hits == found.hits
    months = searcher.search(QUERY, top=DOCUMENTS, filter="released:2024-03..2024-05 and not released > 2024-04").hits
    assert [h.id for h in months] == [h.id for h in everything.hits if by_id[h.id]["released"][5:7] in ("03", "04")]
    first = searcher.search(QUERY, top=3, filter=CHEAP)
    assert first.hits == found.hits[:3]

    pages, after = [], None
    while (page := searcher.search(QUERY, top=4, filter=CHEAP, sort="brand,price:desc", after=after)).hits:
        pages += page.hits
        after = page.hits[-1].sort
    assert [h.id for h in pages] == sorted(
        (h.id for h in cheap), key=lambda i: (by_id[i]["brand"], -by_id[i]["price"], i)
    )
    assert {h.id: h.score for h in pages} == pytest.approx({h.id: h.score for h in cheap}, rel=1e-5)
    assert page.note == "no hits follow: that was the last page"


def test_every_layout_shows_fields_words_and_aggregations(searcher: Searcher) -> None:
    aggregations = {"brands": {"terms": {"field": "brand"}}}
    options: dict[str, Any] = {"filter": CHEAP, "highlight": True, "aggregations": aggregations}
    answer = searcher.search(QUERY, top=5, fields=["price", "spec.*"], **options)
    buckets = {bucket["key"]: bucket["doc_count"] for bucket in answer.aggregations["brands"]["buckets"]}
    everything = searcher.search(QUERY, top=DOCUMENTS, filter=CHEAP, explain=True).hits
    assert sum(buckets.values()) == len(everything) and set(buckets) == {"acme", "Bolt & Co"}
    texts = {row["id"]: row["text"] for row in rows()}
    for hit, same in zip(answer.hits, everything[:5], strict=True):
        assert set(hit.fields) == {"price", "spec", "text"} and set(hit.fields["spec"]) == {"size"}
        assert hit.matched == same.matched and hit.highlights is not None
        shown = " ".join(hit.highlights.fragments)
        marked = {word.partition("</em>")[0] for word in shown.split("<em>")[1:]}
        assert marked <= set(texts[hit.id].split()), "whole words of the text"
        literal = searcher.encoder.encode(texts[hit.id])
        assert hit.highlights.expansions == [m.token for m in hit.matched if m.token not in literal]
        assert bool(marked) == any(m.token in literal for m in hit.matched)


def test_explain_names_the_conditions_that_fail(searcher: Searcher) -> None:
    """p37: 92.5, Bolt & Co."""
    asked = f"{CHEAP} and not exists stock and spec.size:M"
    found = explain(
        searcher.cluster, "products", "p37", QUERY, filter=asked, why_not=searcher.deployment.mode == "client"
    )
    assert found.unsatisfied == ["price < 60", "not exists stock"]
    assert explain(searcher.cluster, "products", "p1", QUERY, filter=CHEAP).unsatisfied == []
    assert explain(searcher.cluster, "products", "p1", QUERY).unsatisfied is None
    if found.why_not is not None:
        assert found.why_not.rank is None
        assert (
            found.why_not.filtered
            == "the document does not satisfy price < 60; the document does not satisfy not exists stock"
        )


def test_seismic_scores_whatever_a_narrow_filter_leaves(
    server: MLCommonsServer, small_bundle: Bundle, tmp_path: Path
) -> None:
    """From approximate_threshold on the server takes the k best of all before it filters, unless k documents pass."""
    searcher = loaded(server, small_bundle, LAYOUTS["sparse_vector"], tmp_path)
    exact = searcher.search(QUERY, top=3, filter="price >= 60")
    (index,) = (one for one in server.indices.values() if "products" in one.aliases)
    index.mappings["properties"]["sparse_embedding"]["method"]["parameters"]["approximate_threshold"] = 1
    body = searcher.body(QUERY, size=3, filter="price >= 60")
    assert body is not None
    (clause,) = body["query"]["bool"]["should"][0]["neural_sparse"].values()
    assert clause["method_parameters"]["filter"] == {"bool": {"filter": [{"range": {"price": {"gte": 60.0}}}]}}
    assert clause["method_parameters"]["k"] == 10_000
    assert searcher.search(QUERY, top=3, filter="price >= 60").hits == exact.hits
    clause["method_parameters"]["k"] = 3
    few = client(server).request("POST", "/products/_search", body=body).body["hits"]["hits"]
    assert len(few) < len(exact.hits) == 3, "what would be found with the k of the hits asked for"


def test_the_commands_take_filters(
    server: MLCommonsServer, small_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded(server, small_bundle, Serving(), tmp_path)
    capsys.readouterr()
    where = ["--cluster", server.url, "--index", "products"]

    def run(*words: str) -> Any:
        with pytest.raises(SystemExit, match="0"):
            main(["--json", *words])
        return json.loads(capsys.readouterr().out)

    (tmp_path / "aggs.json").write_text('{"b": {"terms": {"field": "brand"}}}')
    answer = run("search", *where, "--filter", CHEAP, "--filter-json", '{"term": {"lang": "ko"}}', "--sort", "price",
                 "--top", "2", "--fields", "price", "--aggs", str(tmp_path / "aggs.json"), QUERY)  # fmt: skip
    prices = [hit["fields"]["price"] for hit in answer["hits"]]
    assert prices == sorted(prices) and len(prices) == 2 and answer["aggregations"]["b"]["buckets"]
    after = json.dumps(answer["hits"][-1]["sort"])
    following = run(
        "search", *where, "--filter", CHEAP, "--sort", "price", "--after", after, "--fields", "price", QUERY
    )
    assert following["hits"][0]["fields"]["price"] > prices[-1]
    assert run("explain", *where, "--document", "p37", "--filter", CHEAP, QUERY)["unsatisfied"] == ["price < 60"]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"filter": "prise < 5"}, "has no field prise; it has, for example: price"),
        ({"sort": "text"}, "text is a text, whose values have no order"),
        ({"after": [1]}, "give the `sort` of the page before"),
    ],
)
def test_a_wrong_part_is_refused_before_anything_is_searched(
    options: dict[str, Any], problem: str, server: MLCommonsServer, small_bundle: Bundle, tmp_path: Path
) -> None:
    searcher = loaded(server, small_bundle, Serving(), tmp_path)
    with pytest.raises(InputError, match=problem):
        searcher.search(QUERY, **options)
    with pytest.raises(ClusterError, match=r"failed to parse date field \[soon\]"):
        searcher.search(QUERY, filter="released > soon")
