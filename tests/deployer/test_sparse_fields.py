"""Several sparse fields in one index: each has the vector of its own text, and a search sums their scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from encoder_service import encoder_service
from mlcommons_server import MLCommonsServer
from sparse_fields_world import FIELDS, ROWS, as_stored, dot, load, stored

from osparse.contracts.bundle import Bundle
from osparse.contracts.sparse_field import SparseField
from osparse.deployer import (
    Adoption,
    ModelOptions,
    deploy,
    heal,
    index_documents,
    read_deployment,
    rollback,
    status,
    undeploy,
)
from osparse.errors import DeploymentConflictError, InputError
from osparse.retrieval import Searcher, explain

from .conftest import TEXTS, client

KINDS = {"core": "client", "plugin": "client", "ml-commons": "ml-commons"}
"""rank_feature clauses, query_tokens, query_text."""


@pytest.fixture(params=KINDS)
def cluster_and_mode(request: pytest.FixtureRequest) -> tuple[MLCommonsServer, Any]:
    server = request.getfixturevalue("core" if request.param == "core" else "server")
    return server, KINDS[request.param]


def test_each_field_has_its_own_text_and_a_search_sums_them(
    cluster_and_mode: tuple[MLCommonsServer, Any], small_bundle: Bundle, tmp_path: Path
) -> None:
    server, mode = cluster_and_mode
    deploy(small_bundle, client(server), "products", mode=mode, sparse_fields=FIELDS)
    deployment = read_deployment(client(server), "products")
    for encode in ["auto"] if mode == "client" else ["cluster", "here"]:
        load(server, ROWS, tmp_path, encode=encode, force=True, bundle=small_bundle)
        both, text, title = (stored(server, small_bundle, row["id"]) for row in ROWS)
        for source, field, made_of in ((both, "title_sparse", TEXTS[0]), (both, "sparse_embedding", TEXTS[1]),
                                       (title, "title_sparse", TEXTS[3]), (text, "sparse_embedding", TEXTS[3])):  # fmt: skip
            assert source[field] == pytest.approx(as_stored(small_bundle, made_of, deployment), abs=1e-5)
        assert "title_sparse" not in text and "sparse_embedding" not in title, "a blank text has no vector"
        assert {name for name in both if name.startswith("osparse")} <= {"osparse_hash"}
    searcher = Searcher(client(server), "products")
    query = TEXTS[3]
    answer = searcher.search(query, explain=True)
    expected = {
        row["id"]: 2 * dot(small_bundle, query, row.get("title", "")) + 0.5 * dot(small_bundle, query, row["text"])
        for row in ROWS
    }
    assert {hit.id: hit.score for hit in answer.hits} == pytest.approx({i: s for i, s in expected.items() if s})
    for hit in answer.hits:
        assert sum(match.contribution for match in hit.matched) == pytest.approx(hit.score)
    of_titles = Searcher(client(server), "products", sparse_fields=["title_sparse"]).search(query)
    assert {hit.id: hit.score for hit in of_titles.hits} == pytest.approx(
        {row["id"]: score for row in ROWS if (score := dot(small_bundle, query, row.get("title", "")))}
    ), "one field is searched without its boost"
    only = searcher.search(query, filter="brand:acme", fields=["brand"])
    assert [(hit.id, hit.fields) for hit in only.hits] == [("both", {"brand": "acme"})]
    assert only.hits[0].score == pytest.approx(expected["both"])
    found = explain(client(server), "products", "both", query)
    assert found.score == pytest.approx(sum(found.shares.values())) == pytest.approx(expected["both"])
    by_title = explain(
        client(server), "products", "both", query, sparse_fields=["title_sparse"], why_not=mode == "client"
    )
    assert by_title.shares == {} and by_title.literal == searcher.encoder.encode(TEXTS[0]).keys()
    assert found.shares["title_sparse"] == pytest.approx(2 * dot(small_bundle, query, TEXTS[0]))
    assert status(client(server), "products")[0].problems == []
    assert not deploy(small_bundle, client(server), "products", mode=mode).plan.changes, "the fields are kept"


def test_a_changed_row_changes_the_fields_that_are_made_of_it(
    cluster_and_mode: tuple[MLCommonsServer, Any], small_bundle: Bundle, tmp_path: Path
) -> None:
    server, mode = cluster_and_mode
    deploy(small_bundle, client(server), "products", mode=mode, sparse_fields=["mixed={brand} {title}"])
    deployment = read_deployment(client(server), "products")
    load(server, ROWS[:1], tmp_path)
    load(server, [{"id": "both", "text": TEXTS[2], "title": "비와"}], tmp_path)  # the brand stays
    assert stored(server, small_bundle, "both")["mixed"] == pytest.approx(
        as_stored(small_bundle, "acme 비와", deployment), abs=1e-5
    )
    load(server, [{"id": "both", "text": TEXTS[2], "title": None, "brand": None}], tmp_path)
    assert "mixed" not in stored(server, small_bundle, "both"), "there is no text any more"


def test_a_change_of_another_program_during_the_load_counts(
    core: MLCommonsServer, small_bundle: Bundle, tmp_path: Path
) -> None:
    made = deploy(small_bundle, client(core), "products", sparse_fields=["title_sparse=title"]).deployment
    load(core, ROWS[:1], tmp_path)
    plain, waiting = core.answer, [True]

    def answer(method: str, path: str, query: dict[str, str], kind: str, data: bytes) -> tuple[int, Any]:
        if path.endswith("/_bulk") and waiting and waiting.pop():
            source = {**stored(core, small_bundle, "both"), "title": TEXTS[3]}
            core.indices[f"products-{small_bundle.short}"].put("both", source)
        return plain(method, path, query, kind, data)

    core.answer = answer  # type: ignore[method-assign]
    load(core, [{"id": "both", "text": TEXTS[2]}], tmp_path)
    found = stored(core, small_bundle, "both")
    assert (found["title"], found["text"]) == (TEXTS[3], TEXTS[2])
    assert found["title_sparse"] == pytest.approx(as_stored(small_bundle, TEXTS[3], made), abs=1e-5)


def test_a_text_that_cannot_be_made_is_a_failure_of_its_row(
    cluster_and_mode: tuple[MLCommonsServer, Any], small_bundle: Bundle, tmp_path: Path
) -> None:
    server, mode = cluster_and_mode
    deploy(small_bundle, client(server), "products", mode=mode, sparse_fields=["size_sparse=size"])
    path = tmp_path / "d.jsonl"
    path.write_text(json.dumps({"id": "1", "text": "a", "size": 1.5}) + "\n" + json.dumps(ROWS[0]), encoding="utf-8")
    done = index_documents(client(server), "products", [path])
    assert (done.indexed, done.failed) == (1, 1) and "size is part of the text" in done.first_failures[0].reason


def test_long_titles_are_encoded_in_windows_too(core: MLCommonsServer, small_bundle: Bundle, tmp_path: Path) -> None:
    long_text = " ".join(f"{TEXTS[0]} {TEXTS[3]}" for _ in range(small_bundle.head.max_length))
    fields = ["title_sparse=title", "text_again=text"]
    deploy(small_bundle, client(core), "products", serving={"window_weight": 0.5}, sparse_fields=fields)
    load(
        core,
        [{"id": "1", "title": long_text, "text": long_text}, {"id": "2", "title": "a", "text": long_text}],
        tmp_path,
    )
    one, two = (stored(core, small_bundle, i) for i in "12")
    assert one["title_sparse"] == one["sparse_embedding"] == two["text_again"] != two["title_sparse"]


@pytest.mark.parametrize("mode", ["client", "ml-commons"])
def test_two_bundles_side_by_side(
    mode: Any, server: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle, tmp_path: Path
) -> None:
    """An upgrade whose new index keeps the old bundle's weights in a field of their own, searched by its name."""
    deploy(small_bundle, client(server), "products", mode=mode)
    load(server, ROWS, tmp_path)
    fields = [f"a_sparse=text^0@{small_bundle.path}"]
    planned = deploy(other_bundle, client(server), "products", mode=mode, sparse_fields=fields, plan_only=True)
    assert planned.preflight is not None and (mode == "client" or "the bundles bring 4" in str(planned.preflight))
    deploy(other_bundle, client(server), "products", mode=mode, sparse_fields=fields)
    query = TEXTS[3]
    for names, bundle in ((None, other_bundle), (["a_sparse"], small_bundle), (["sparse_embedding"], other_bundle)):
        hits = Searcher(client(server), "products", sparse_fields=names).search(query, explain=True).hits
        expected = {row["id"]: score for row in ROWS if (score := dot(bundle, query, row["text"]))}
        assert {hit.id: hit.score for hit in hits} == pytest.approx(expected)
    both = Searcher(client(server), "products", sparse_fields=["a_sparse", "sparse_embedding"]).search(query).hits
    assert {hit.id: hit.score for hit in both} == pytest.approx(
        {row["id"]: dot(small_bundle, query, row["text"]) + dot(other_bundle, query, row["text"])
         for row in ROWS if row["text"].strip()}
    )  # fmt: skip
    (state,) = status(client(server), f"products-{other_bundle.short}")
    assert state.problems == [] and len(state.models) == (0 if mode == "client" else 4)
    assert "sparse field a_sparse from 'text'" in str(state) and "searched where it is named" in str(state)
    with pytest.raises(InputError, match="a_sparse=text@tiny-.* give all further fields again"):
        deploy(other_bundle, client(server), "products", mode=mode)
    assert not deploy(other_bundle, client(server), "products", mode=mode, sparse_fields=fields).plan.changes
    assert undeploy(client(server), "products", keep=0).left == []
    assert Searcher(client(server), "products", sparse_fields=["a_sparse"]).search(query).hits, "its bundle stays"
    done = undeploy(client(server), "products", everything=True)
    assert done.left == [] and not server.indices and not server.models, done


def test_an_upgrade_keeps_the_fields_and_a_rollback_goes_back(
    server: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle, tmp_path: Path
) -> None:
    deploy(small_bundle, client(server), "products", sparse_fields=FIELDS)
    load(server, ROWS, tmp_path)
    made = deploy(other_bundle, client(server), "products")
    assert "kept from the index before: sparse-field title_sparse" in made.notes
    assert made.deployment.fields == (SparseField("title_sparse", "{title}", 2.0),) and made.deployment.boost == 0.5
    vector = stored(server, other_bundle, "both")["title_sparse"]
    assert vector == pytest.approx(as_stored(other_bundle, TEXTS[0], made.deployment), abs=1e-5)
    rollback(client(server), "products")
    assert Searcher(client(server), "products").search(TEXTS[0]).hits[0].id == "both"
    other = deploy(other_bundle, client(server), "others", sparse_fields=FIELDS)
    plain = deploy(small_bundle, client(server), "others", sparse_fields=[])
    assert other.deployment.fields and not plain.deployment.fields


def test_a_boost_is_changed_in_place_and_a_field_is_not(
    server: MLCommonsServer, small_bundle: Bundle, tmp_path: Path
) -> None:
    deploy(small_bundle, client(server), "products", sparse_fields=["title_sparse=title^2"])
    load(server, ROWS, tmp_path)
    query = TEXTS[0]
    before = Searcher(client(server), "products").search(query).hits[0].score
    deploy(small_bundle, client(server), "products", sparse_fields=["title_sparse=title^4"])
    after = Searcher(client(server), "products").search(query).hits[0].score
    assert after - before == pytest.approx(2 * dot(small_bundle, query, TEXTS[0]))
    with pytest.raises(DeploymentConflictError, match=r"sparse fields: title_sparse=\{title\} there, None required"):
        deploy(small_bundle, client(server), "products", sparse_fields=[])


def test_lost_wiring_is_seen_and_made_again(
    server: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle, tmp_path: Path
) -> None:
    fields = ["title_sparse=title", f"b_sparse={{title}}@{other_bundle.path}"]
    made = deploy(small_bundle, client(server), "products", sparse_fields=fields).deployment
    assert made.ingest_pipeline is not None and made.search_pipeline is not None
    ingest, search = server.ingest.pop(made.ingest_pipeline), server.pipelines.pop(made.search_pipeline)
    assert len(status(client(server), "products")[0].problems) == 2
    assert all(one.problem is None for one in heal(client(server), "products"))
    assert server.ingest[made.ingest_pipeline]["processors"] == ingest["processors"]
    assert server.pipelines[made.search_pipeline]["request_processors"] == search["request_processors"]
    load(server, ROWS[:1], tmp_path)
    del stored(server, small_bundle, "both")["b_sparse"]
    stored(server, small_bundle, "both")["title_sparse"] = {"x": 1.0}
    stored(server, small_bundle, "both")["osparse_hash"] = "of another program"
    problems = status(client(server), "products")[0].problems
    assert [problem.split(":")[0] for problem in problems] == ["title_sparse", "b_sparse"]


def test_a_remote_encoder_encodes_every_field(server: MLCommonsServer, small_bundle: Bundle, tmp_path: Path) -> None:
    """What ML Commons would expand in a text reaches the encoder as it is, in a field that is made of others too."""
    row = {"id": "1", "text": "a ${parameters.x} pears", "title": "${parameters.input} b"}
    with encoder_service(small_bundle.path) as service:
        models = ModelOptions(allow_settings=True, encoder_url=service.url)
        deployment = deploy(
            small_bundle, client(server), "products", mode="remote", models=models, sparse_fields=FIELDS
        ).deployment
        load(server, [row, *ROWS], tmp_path)
        found = stored(server, small_bundle, "1")
        for field, text in (("sparse_embedding", row["text"]), ("title_sparse", row["title"])):
            assert found[field] == pytest.approx(as_stored(small_bundle, text, deployment), abs=1e-5)
        assert (found["text"], found["title"]) == (row["text"], row["title"])
        both = stored(server, small_bundle, "both")["title_sparse"]
        assert both == pytest.approx(as_stored(small_bundle, TEXTS[0], deployment), abs=1e-5)


@pytest.mark.parametrize("mode", ["client", "ml-commons"])
def test_an_adopted_index_gets_every_field(mode: Any, server: MLCommonsServer, small_bundle: Bundle) -> None:
    properties = {"name": {"type": "text"}, "about": {"type": "text"}}
    client(server).request("PUT", "/products-v7", body={"mappings": {"properties": properties}})
    for n, text in enumerate(TEXTS):
        client(server).request("PUT", f"/products-v7/_doc/{n}", body={"name": text, "about": f"about {text}"})
    options: dict[str, Any] = {"serving": {"text_template": "{about}"}, "adoption": Adoption("products-v7")}
    made = deploy(
        small_bundle, client(server), "products", mode=mode, sparse_fields=["name_sparse=name"], **options
    ).deployment
    for n, text in enumerate(TEXTS):
        found = stored(server, small_bundle, str(n))
        assert found["name_sparse"] == pytest.approx(as_stored(small_bundle, text, made), abs=1e-5)
        assert found["sparse_embedding"] == pytest.approx(as_stored(small_bundle, f"about {text}", made), abs=1e-5)
    with pytest.raises(InputError, match="has no field brand, of which the text should be made"):
        deploy(small_bundle, client(server), "others", mode=mode, sparse_fields=["b=brand"], **options)
    if mode == "client":  # another program changes a name: the next deploy encodes it
        source = {**stored(server, small_bundle, "0"), "name": TEXTS[3]}
        client(server).request("PUT", f"/products-{small_bundle.short}/_doc/0", body=source)
        deploy(small_bundle, client(server), "products", mode=mode, **options)
        found = stored(server, small_bundle, "0")["name_sparse"]
        assert found == pytest.approx(as_stored(small_bundle, TEXTS[3], made), abs=1e-5)
