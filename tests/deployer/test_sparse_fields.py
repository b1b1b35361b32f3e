"""Several sparse fields in one index: each has the vector of its own text, and a search sums their scores."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from encoder_service import encoder_service
from mlcommons_server import MLCommonsServer

from osparse.cli.main import main
from osparse.contracts.bundle import Bundle
from osparse.contracts.deployment import Deployment, feature_name
from osparse.contracts.sparse_field import SparseField
from osparse.deployer import (
    Adoption,
    ModelOptions,
    Serving,
    Upgrade,
    deploy,
    heal,
    index_documents,
    read_deployment,
    rollback,
    status,
    undeploy,
)
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.fields.sparse_fields import read_sparse_fields
from osparse.encoders.onnx_encoder import OnnxEncoder, open_query_encoder
from osparse.errors import ClusterError, DeploymentConflictError, InputError
from osparse.formula.lucene_rounding import quantise
from osparse.retrieval import Feedback, Searcher, Setting, explain, load_test, write_workload
from osparse.retrieval.serving.settings import TwoPhase
from osparse.retrieval.tuning.applying.apply_plan import record

from .conftest import TEXTS, client

FIELDS = ["title_sparse=title^2", "sparse_embedding=text^0.5"]
ROWS: list[dict[str, Any]] = [
    {"id": "both", "title": TEXTS[0], "text": TEXTS[1], "brand": "acme"},
    {"id": "text", "text": TEXTS[3], "brand": "2.0"},
    {"id": "title", "title": TEXTS[3], "text": " "},
]
KINDS = {"core": "client", "plugin": "client", "ml-commons": "ml-commons"}
"""rank_feature clauses, query_tokens, query_text."""


@pytest.fixture(params=KINDS)
def cluster_and_mode(request: pytest.FixtureRequest) -> tuple[MLCommonsServer, Any]:
    server = request.getfixturevalue("core" if request.param == "core" else "server")
    return server, KINDS[request.param]


def load(server: MLCommonsServer, rows: list[dict[str, Any]], folder: Path, **options: Any) -> None:
    path = folder / "d.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert index_documents(client(server), "products", [path], **options).failed == 0


def encoded(bundle: Bundle, text: str) -> dict[str, float]:
    """Token -> weight as the index keeps it."""
    (vector,) = OnnxEncoder.open(bundle.zip_path("onnx"), threads=1).encode([text])
    return dict(zip(vector, map(float, quantise([*vector.values()])), strict=True))


def dot(bundle: Bundle, query: str, text: str) -> float:
    asked = open_query_encoder(bundle.zip_path("tokenizer")).encode(query)
    stored = encoded(bundle, text) if text.strip() else {}
    return sum(weight * stored.get(token, 0.0) for token, weight in asked.items())


def stored(server: MLCommonsServer, bundle: Bundle, i: str) -> dict[str, Any]:
    return server.indices[f"products-{bundle.short}"].documents[i]


def as_stored(bundle: Bundle, text: str, deployment: Deployment) -> dict[str, float]:
    (vector,) = OnnxEncoder.open(bundle.zip_path("onnx"), threads=1).encode([text])
    return {feature_name(token, deployment.key_style): weight for token, weight in vector.items()}


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
    by_title = Searcher(client(server), "products", sparse_fields=["title_sparse"]).search(query)
    assert {hit.id: hit.score for hit in by_title.hits} == pytest.approx(
        {row["id"]: score for row in ROWS if (score := dot(small_bundle, query, row.get("title", "")))}
    ), "one field is searched without its boost"
    only = searcher.search(query, filter="brand:acme", fields=["brand"])
    assert [(hit.id, hit.fields) for hit in only.hits] == [("both", {"brand": "acme"})]
    assert only.hits[0].score == pytest.approx(expected["both"])
    found = explain(client(server), "products", "both", query)
    assert found.score == pytest.approx(sum(found.shares.values())) == pytest.approx(expected["both"])
    title = explain(client(server), "products", "both", query, sparse_fields=["title_sparse"], why_not=mode == "client")
    assert title.shares == {} and title.literal == searcher.encoder.encode(TEXTS[0]).keys()
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


@pytest.mark.parametrize("mode", ["client", "ml-commons"])
def test_two_bundles_side_by_side(
    mode: Any, server: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle, tmp_path: Path
) -> None:
    """An upgrade whose new index keeps the old bundle's weights in a field of their own, searched by its name."""
    deploy(small_bundle, client(server), "products", mode=mode)
    load(server, ROWS, tmp_path)
    fields = [f"a_sparse=text^0@{small_bundle.path}"]
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
        sent = [text.replace("${", "$\u2060{") for text in (row["text"], row["title"])]
        for field, text in zip(("sparse_embedding", "title_sparse"), sent, strict=True):
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


def test_what_is_recorded(small_bundle: Bundle, other_bundle: Bundle) -> None:
    made = read_sparse_fields(
        [f"b_sparse={{a}}, {{c}}^0.5@{other_bundle.path}", "sparse_embedding=text^2"], small_bundle
    )
    (field,) = made.fields
    assert (field.path, field.template, field.boost, made.boost) == ("b_sparse", "{a}, {c}", 0.5, 2.0)
    assert field.bundle is not None and field.bundle.fingerprint == other_bundle.fingerprint
    one = Deployment("client", "b", "f" * 64, "i" * 12, 400, 64, "u2024", None, None)
    assert {"boost", "fields"}.isdisjoint(one.to_meta()["osparse"]), "an older version reads an index of one field"
    several = replace(one, fields=(field,), boost=2.0)
    assert Deployment.from_meta(json.loads(json.dumps(several.to_meta())), "i") == several
    damaged = {"osparse": {**several.to_meta()["osparse"], "fields": [{"path": "x", "from": "later"}]}}
    with pytest.raises(ClusterError, match="is not readable"):
        Deployment.from_meta(damaged, "i")


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        (["title"], r"must be NAME=SOURCE"),
        (["text=title"], "text is the name of another field"),
        (["osparse_text_x=title"], "the name of another field"),
        (["a=title", "a=text"], "has a twice"),
        (["a=title^x"], "a number from 0 to 1000, got 'x'"),
        (["a=title^-1"], "a number from 0 to 1000"),
        (["a=a.b"], "a cannot be made of itself"),
        (["a={title"], "must be NAME=SOURCE"),
        (["sparse_embedding=title"], "made of the text by the index's bundle"),
        (["sparse_embedding=text^2"], "has no effect without a further field"),
        (["a=title^0", "sparse_embedding=text^0"], "no field has a boost above 0"),
    ],
)
def test_a_field_that_cannot_be_is_refused(fields: list[str], problem: str, small_bundle: Bundle) -> None:
    with pytest.raises(InputError, match=problem):
        read_sparse_fields(fields, small_bundle)


def test_what_goes_with_one_field_only_is_refused(
    server: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle, tmp_path: Path
) -> None:
    cluster = client(server)
    for serving in (Serving(field="sparse_vector"), Serving(chunk_text=True), Serving(two_phase=True),
                    Serving(skip_existing=True), Serving(hybrid="rrf")):  # fmt: skip
        with pytest.raises(InputError, match="goes with one sparse field, not with `sparse_fields`"):
            deploy(small_bundle, cluster, "products", serving=serving, sparse_fields=["a=title"])
    with pytest.raises(InputError, match="an argument of its own"):
        deploy(small_bundle, cluster, "products", serving={"boost": 2.0})
    with pytest.raises(InputError, match="in mode remote one encoder serves all fields"):
        models = ModelOptions(encoder_url="http://127.0.0.1:1")
        fields = [f"a=title@{other_bundle.path}"]
        deploy(small_bundle, cluster, "products", mode="remote", models=models, sparse_fields=fields)
    assert not server.indices
    deploy(small_bundle, cluster, "products", sparse_fields=["a=title", f"b=title@{other_bundle.path}"])
    load(server, ROWS, tmp_path)
    with pytest.raises(InputError, match=r"sparse fields of another bundle \(b\)"):
        index_documents(cluster, "products", [tmp_path / "d.jsonl"], encode="here", bundle=small_bundle)
    for asked in ({"against": "text"}, {"why_not": True}):
        with pytest.raises(InputError, match="works on one sparse field"):
            explain(cluster, "products", "both", TEXTS[0], **asked)
    explain(cluster, "products", "both", TEXTS[0], against="title", sparse_fields=["a"])
    with pytest.raises(InputError, match="a search setting .* works on one sparse field"):
        Searcher(cluster, "products", feedback=Feedback(documents=2, share=0.2))
    record(ClusterApi(cluster), f"products-{small_bundle.short}", Setting(two_phase=TwoPhase()))
    assert "the recorded search setting is not applied" in Searcher(cluster, "products").search(TEXTS[0]).note
    assert not Searcher(cluster, "products", sparse_fields=["a"]).search(TEXTS[0]).note
    for refused in (
        lambda: load_test(cluster, "products", TEXTS),
        lambda: write_workload(cluster, "products", TEXTS, tmp_path / "w"),
    ):
        with pytest.raises(InputError, match="one sparse field"):
            refused()
    with pytest.raises(InputError, match="has no sparse field c; its sparse fields: sparse_embedding, a, b"):
        Searcher(cluster, "products", sparse_fields=["c"])


def test_the_command_line_states_and_searches_fields(
    server: MLCommonsServer, small_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*words: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main([*words, "--cluster", server.url, "--index", "products"])
        said = capsys.readouterr()
        return said.err if ended.value.code else said.out

    run("deploy", str(small_bundle.path), "--sparse-field", "t={brand}\\n{title}^2")
    assert read_deployment(client(server), "products").fields[0].template == "{brand}\n{title}"
    load(server, ROWS, tmp_path)
    hits = json.loads(run("search", "--sparse-field", "t", "--json", TEXTS[0]))["hits"]
    assert "both" in {hit["id"] for hit in hits}
    assert "of t" in run("explain", "--document", "both", TEXTS[0])
    refused = run("deploy", str(small_bundle.path), "--sparse-field", "t=title", "--no-sparse-fields")
    assert "contradict each other" in refused


def test_shards_are_refused(server: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle) -> None:
    from osparse.deployer import encode_documents

    deploy(small_bundle, client(server), "products", sparse_fields=["a=title"])
    Path("d.jsonl").write_text(json.dumps(ROWS[0]), encoding="utf-8")
    encode_documents([Path("d.jsonl")], small_bundle, Path("shards"))
    with pytest.raises(InputError, match="shards hold one for each document"):
        index_documents(client(server), "products", [], encoded=Path("shards"))
    with pytest.raises(InputError, match="holds one vector of each document"):
        upgrade = Upgrade(encoded=Path("shards"))
        deploy(small_bundle, client(server), "products", upgrade=upgrade)
