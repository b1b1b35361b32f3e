"""From an index to a tuned one, on a server without plugins and on one with ML Commons."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from lookup_bundle import make_lookup_bundle
from mlcommons_server import MLCommonsServer, mlcommons_server

from osparse.cli.main import cli
from osparse.contracts.bundle import Bundle
from osparse.contracts.dataset import Dataset
from osparse.deployer import Cluster, Gate, deploy, index_documents, read_deployment, rollback, status
from osparse.deployer.cluster.api import ClusterApi
from osparse.encoders.onnx_encoder import OnnxEncoder
from osparse.errors import CheckError, InputError
from osparse.evaluation.measures import NDCG, open_benchmark
from osparse.retrieval import Searcher, evaluate, tune
from osparse.retrieval.serving.settings import Hybrid, Pruning, QueryWeights, Setting, TwoPhase
from osparse.retrieval.tuning import tune as tune_module
from osparse.retrieval.tuning.applying import apply_plan as apply_module
from osparse.retrieval.tuning.applying.apply_plan import apply_plan, fusing_body, record
from osparse.retrieval.tuning.applying.changed_bundle import pruned_bundle, stored_bundle
from osparse.retrieval.tuning.applying.copies import Copies, add_in_time, copies_of
from osparse.retrieval.tuning.offline.pruning import kept
from osparse.retrieval.tuning.result.choice import Point
from osparse.retrieval.tuning.result.plan import TuningPlan

CHOICES = [Pruning("max_ratio", 0.4), Pruning("top_k", 9), Pruning("alpha_mass", 0.6)]


pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(params=["client", "ml-commons"])
def served(
    request: pytest.FixtureRequest, lookup: Bundle, dataset: Dataset
) -> Iterator[tuple[MLCommonsServer, Cluster]]:
    """The world's documents in the index "products"."""
    settings = {"plugins.ml_commons.allow_registering_model_via_local_file": "true",
                "plugins.ml_commons.only_run_on_ml_node": "false"}  # fmt: skip
    plain: dict[str, Any] = {"plugins": ()} if request.param == "client" else {"settings": settings}
    with mlcommons_server(**plain) as running:
        cluster = Cluster(running.url, retries=2, backoff=0.01)
        deploy(lookup, cluster, "products")
        index_documents(cluster, "products", [dataset.path], workers=1)
        assert read_deployment(cluster, "products").mode == request.param
        yield running, cluster


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_a_pruned_graph_gives_the_pruned_weights(choice: Pruning, lookup: Bundle, tmp_path: Path) -> None:
    pruned = pruned_bundle(lookup, choice, tmp_path / "pruned")
    assert pruned.fingerprint != lookup.fingerprint and Bundle.open(tmp_path / "pruned") == pruned
    again = pruned_bundle(lookup, choice, tmp_path / "again")
    assert again.fingerprint == pruned.fingerprint
    texts = ["growing pears in spring", "비와 구름", "", "the moon ver. 2.0"]
    plain, fewer = (OnnxEncoder.open(bundle).encode(texts) for bundle in (lookup, pruned))
    for before, after in zip(plain, fewer, strict=True):
        values = np.fromiter(before.values(), np.float32, len(before))
        stay = kept(np.zeros(len(values), np.int64), values, choice)
        assert after == {token: w for (token, w), stays in zip(before.items(), stay, strict=True) if stays}
    assert sum(map(len, fewer)) < sum(map(len, plain))
    encoded = OnnxEncoder.open(pruned).encode([probe.text for probe in pruned.probes()], batch_size=1)
    assert [probe.document for probe in pruned.probes()] == encoded


def test_the_parts_in_the_cluster_make_a_bundle(served: tuple[MLCommonsServer, Cluster], tmp_path: Path) -> None:
    _, cluster = served
    deployment = read_deployment(cluster, "products")
    if deployment.mode == "ml-commons":
        with pytest.raises(InputError, match="pass `bundle`"):
            stored_bundle(ClusterApi(cluster), deployment, ["pears"], tmp_path / "b")
        return
    made = stored_bundle(ClusterApi(cluster), deployment, ["growing pears"], tmp_path / "b")
    assert made.name == "tiny" and made.probes()[0].document and Bundle.open(tmp_path / "b") == made


def plan_of(cluster: Cluster, setting: Setting, loss: float = 1.0) -> TuningPlan:
    """A plan that chose ``setting`` and allows any loss."""
    present = Point(Searcher(cluster, "products").setting, 1, loss, {}, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1)
    chosen = replace(present, setting=setting, test=0.0)
    return TuningPlan("products", "", {}, [], [present, chosen], 1, True, "", [], 2, 1.0)


def test_a_query_setting_is_recorded_and_used(served: tuple[MLCommonsServer, Cluster], dataset: Dataset) -> None:
    server, cluster = served
    data = open_benchmark(dataset.path, "train")
    before = evaluate(data, cluster=cluster, index="products")
    setting = Setting(QueryWeights(power=3.0, top=2))
    message = apply_plan(cluster, "products", plan_of(cluster, setting), Searcher(cluster, "products"), dataset.path)
    assert "records the setting" in message
    after = evaluate(data, cluster=cluster, index="products")
    assert Searcher(cluster, "products").setting == setting
    assert [row.figures for row in after.rows] != [row.figures for row in before.rows]
    (found,) = status(cluster)
    assert found.ready
    (concrete,) = ClusterApi(cluster).get_mapping("products") or {}
    record(ClusterApi(cluster), concrete, Setting())
    assert evaluate(data, cluster=cluster, index="products").rows == before.rows


def test_a_plan_without_a_change_changes_nothing(served: tuple[MLCommonsServer, Cluster], dataset: Dataset) -> None:
    server, cluster = served
    plan = replace(plan_of(cluster, Setting(QueryWeights(power=2))), change=False)
    assert apply_plan(cluster, "products", plan, Searcher(cluster, "products"), dataset.path) == ""
    assert Searcher(cluster, "products").setting == Setting()


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_pruning_makes_an_index_beside_the_old_one(
    choice: Pruning, served: tuple[MLCommonsServer, Cluster], lookup: Bundle, dataset: Dataset, tmp_path: Path
) -> None:
    server, cluster = served
    mode = read_deployment(cluster, "products").mode
    (old,) = ClusterApi(cluster).get_mapping("products") or {}
    setting = Setting(QueryWeights(power=1.5), pruning=choice)
    given = lookup if mode == "ml-commons" else None
    message = apply_plan(
        cluster, "products", plan_of(cluster, setting), Searcher(cluster, "products"), dataset.path, given
    )
    (new,) = ClusterApi(cluster).get_mapping("products") or {}
    assert new != old and f"moved from {old} to {new}" in message and "nDCG@10" in message
    before, after = (server.indices[name].documents for name in (old, new))
    assert before.keys() == after.keys() and Searcher(cluster, "products").setting == setting
    for document, source in before.items():
        vector = source["sparse_embedding"]
        values = np.fromiter(vector.values(), np.float32, len(vector))
        stay = kept(np.zeros(len(values), np.int64), values, choice)
        left = {token for token, stays in zip(vector, stay, strict=True) if stays}
        assert after[document]["sparse_embedding"].keys() == left
    # a document that is loaded now is pruned by the encoder itself
    rows = tmp_path / "more.jsonl"
    rows.write_text(json.dumps({"id": "new", "text": dataset.documents.collect()["text"][0], "lang": "ko"}) + "\n")
    index_documents(cluster, "products", [rows])
    twin = after[dataset.documents.collect()["id"][0]]["sparse_embedding"]
    assert server.indices[new].documents["new"]["sparse_embedding"] == pytest.approx(twin, abs=1e-5)
    rollback(cluster, "products")
    assert (ClusterApi(cluster).get_mapping("products") or {}).keys() == {old}
    assert Searcher(cluster, "products").setting == Setting()


def test_a_pruned_index_that_loses_more_than_promised_does_not_take_over(
    served: tuple[MLCommonsServer, Cluster], lookup: Bundle, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, cluster = served
    (old,) = ClusterApi(cluster).get_mapping("products") or {}
    monkeypatch.setattr(
        apply_module, "gate", lambda _, data, margin: Gate(lambda name: 0.9 if name == old else 0.8, str(data), margin)
    )
    setting, searcher = Setting(pruning=Pruning("top_k", 5)), Searcher(cluster, "products")
    with pytest.raises(CheckError, match="nDCG@10"):
        apply_plan(cluster, "products", plan_of(cluster, setting, loss=0.09), searcher, dataset.path, lookup)
    assert (ClusterApi(cluster).get_mapping("products") or {}).keys() == {old}
    apply_plan(cluster, "products", plan_of(cluster, setting, loss=0.1), searcher, dataset.path, lookup)
    assert (ClusterApi(cluster).get_mapping("products") or {}).keys() != {old}


def test_another_bundle_is_refused(served: tuple[MLCommonsServer, Cluster], dataset: Dataset, tmp_path: Path) -> None:
    _, cluster = served
    other = make_lookup_bundle(tmp_path, seed=1)
    plan = plan_of(cluster, Setting(pruning=CHOICES[0]))
    with pytest.raises(InputError, match="give the deployed bundle"):
        apply_plan(cluster, "products", plan, Searcher(cluster, "products"), dataset.path, other)


def test_pipelines_for_those_who_ask_the_cluster(served: tuple[MLCommonsServer, Cluster], dataset: Dataset) -> None:
    server, cluster = served
    mode = read_deployment(cluster, "products").mode
    for setting in (Setting(hybrid=Hybrid("z_score", "harmonic_mean", 0.8)), Setting(two_phase=TwoPhase(0.3, 4))):
        apply_plan(cluster, "products", plan_of(cluster, setting), Searcher(cluster, "products"), dataset.path)
    if mode == "client":
        assert not server.pipelines
        return
    fusing = server.pipelines["osparse-hybrid-products"]
    processor = fusing["phase_results_processors"][0]["normalization-processor"]
    assert processor["combination"] == {"technique": "harmonic_mean", "parameters": {"weights": [0.2, 0.8]}}
    assert "neural_query_enricher" in fusing["request_processors"][0]
    (concrete,) = ClusterApi(cluster).get_mapping("products") or {}
    name = server.indices[concrete].settings["search.default_pipeline"]
    enricher, phases = server.pipelines[name]["request_processors"]
    assert "neural_query_enricher" in enricher
    assert phases["neural_sparse_two_phase_processor"]["two_phase_parameter"] == {
        "prune_ratio": 0.3, "expansion_rate": 4, "max_window_size": 10000
    }  # fmt: skip


def test_the_pipeline_of_reciprocal_ranks() -> None:
    body = fusing_body("b", [], Hybrid("rrf", weight=0.75, rank_constant=10))
    assert body["phase_results_processors"] == [
        {"score-ranker-processor": {"combination": {
            "technique": "rrf", "rank_constant": 10, "parameters": {"weights": [0.25, 0.75]}}}}
    ]  # fmt: skip


def test_the_whole_run(
    served: tuple[MLCommonsServer, Cluster], dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, cluster = served
    changed: list[TuningPlan] = []

    def applied(*parts: Any) -> str:
        changed.append(parts[2])
        return "done"

    monkeypatch.setattr(tune_module, "apply_plan", applied)
    plan = tune(cluster, "products", dataset.path, minutes=0.02, apply=True, output=tmp_path / "out")
    assert plan.tried > 30 and plan.points[0].setting == Setting() and changed[0].points == plan.points
    assert plan.applied == "done" and TuningPlan.open(tmp_path / "out" / "plan.json") == plan
    measured = evaluate(open_benchmark(dataset.path), cluster=cluster, index="products")
    rows = [row for row in measured.rows if not row.no_shared_word]
    assert plan.present.test == pytest.approx(
        sum(r.figures[NDCG] * r.queries for r in rows) / sum(r.queries for r in rows)
    )
    assert plan.present.by_direction == pytest.approx({row.direction: row.figures[NDCG] for row in rows})
    assert all(point.p95 > 0 and point.bytes > 0 for point in plan.points)
    assert any("as simulated" in note for note in plan.notes)
    pruned = [point for point in plan.points if point.setting.pruning is not None]
    assert all(point.postings < plan.present.postings and point.bytes < plan.present.bytes for point in pruned)
    assert not [name for name in server.indices if "tuning-copy" in name]


def test_without_time_no_further_copy_is_made(served: tuple[MLCommonsServer, Cluster]) -> None:
    server, cluster = served
    api, (concrete,) = ClusterApi(cluster), ClusterApi(cluster).get_mapping("products") or {}
    with pytest.raises(RuntimeError), copies_of(api, "products", concrete, "sparse_embedding") as copies:
        add_in_time(copies, [None, *CHOICES])
        assert len([name for name in server.indices if "tuning-copy" in name]) == 4
        raise RuntimeError
    assert not [name for name in server.indices if "tuning-copy" in name]
    with copies_of(api, "products", concrete, "sparse_embedding") as copies:
        add_in_time(copies, [None, *CHOICES], 0.0)
        assert list(copies.places) == [None]


def test_copies_that_an_interrupted_run_left_are_removed(served: tuple[MLCommonsServer, Cluster]) -> None:
    server, cluster = served
    api, (concrete,) = ClusterApi(cluster), ClusterApi(cluster).get_mapping("products") or {}
    Copies(api, "products", concrete, "sparse_embedding").add(CHOICES[0])
    with copies_of(api, "products", concrete, "sparse_embedding"):
        assert not [name for name in server.indices if "tuning-copy" in name]


def test_the_command(
    served: tuple[MLCommonsServer, Cluster], dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, cluster = served
    options = ["tune", "--cluster", cluster.url, "--index", "products", "--dataset", str(dataset.path)]
    done = CliRunner().invoke(
        cli, [*options, "--budget", "p95<=20"], obj={"json": False, "quiet": True, "verbose": False}
    )
    assert isinstance(done.exception, InputError) and "--budget of p95 needs one of the units" in str(done.exception)
    done = CliRunner().invoke(cli, [*options, "--minutes", "0.005", "--json"], obj={})
    assert done.exit_code == 0, done.exception
    assert json.loads(done.stdout)["points"][0]["name"] == "plain"


def test_minutes_must_be_above_0(served: tuple[MLCommonsServer, Cluster], dataset: Dataset) -> None:
    with pytest.raises(InputError, match="`minutes` must be above 0, got 0"):
        tune(served[1], "products", dataset.path, minutes=0)
