"""Several sparse fields in one index: how they are stated and recorded, and what is refused by name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from mlcommons_server import MLCommonsServer
from sparse_fields_world import ROWS, load

from osparse.cli.main import main
from osparse.contracts.bundle import Bundle
from osparse.contracts.deployment import Deployment
from osparse.deployer import (
    ModelOptions,
    Serving,
    Upgrade,
    deploy,
    index_documents,
    read_deployment,
)
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.fields.sparse_fields import read_sparse_fields
from osparse.errors import ClusterError, InputError
from osparse.retrieval import Feedback, Searcher, Setting, explain, load_test, write_workload
from osparse.retrieval.serving.settings import TwoPhase
from osparse.retrieval.tuning.applying.apply_plan import record

from .conftest import TEXTS, client


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
