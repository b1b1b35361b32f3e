"""Tuning how a sparse_vector field is built: indices are made, measured, deleted, and a chosen one takes over."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lookup_bundle import make_lookup_bundle
from mlcommons_models import Runtime
from mlcommons_server import MLCommonsServer, mlcommons_server

from osparse.contracts.bundle import Bundle
from osparse.contracts.dataset import Dataset
from osparse.deployer import Cluster, Gate, deploy, index_documents, rollback
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.rest.indices import MERGE_TIMEOUT
from osparse.deployer.index.seismic_parameters import DEFAULT_THRESHOLD, parameters_of
from osparse.deployer.segments.segments import force_merge
from osparse.errors import CheckError, ClusterError, InputError
from osparse.evaluation.measures import open_benchmark
from osparse.retrieval import Searcher
from osparse.retrieval.serving.settings import Seismic, SeismicBuild, Setting
from osparse.retrieval.tuning.applying import apply_plan as apply_module
from osparse.retrieval.tuning.applying import copies as copies_module
from osparse.retrieval.tuning.applying.apply_plan import apply_plan
from osparse.retrieval.tuning.applying.copies import copies_of
from osparse.retrieval.tuning.building.candidates import BuildTrial, PresentBuild, candidates, together
from osparse.retrieval.tuning.building.trials import BuildTrials
from osparse.retrieval.tuning.measure import measure_finalists
from osparse.retrieval.tuning.questions import questions
from osparse.retrieval.tuning.result.choice import Point
from osparse.retrieval.tuning.result.plan import TuningPlan
from osparse.retrieval.tuning.subject import read_subject

pytestmark = pytest.mark.usefixtures("own_cache")
FIELD = "sparse_embedding"
POSTINGS = 3
"""``n_postings`` of the index: so few that approximate search loses documents."""


@pytest.fixture
def server(lookup: Bundle, dataset: Dataset) -> Iterator[MLCommonsServer]:
    """The world's documents in the index "products", whose segments are searched approximately once it is merged."""
    settings = {"plugins.ml_commons.allow_registering_model_via_local_file": "true",
                "plugins.ml_commons.only_run_on_ml_node": "false"}  # fmt: skip
    with mlcommons_server(settings=settings) as running:
        deploy(lookup, cluster_of(running), "products", serving={"field": "sparse_vector", "seismic_threshold": 5})
        mapping = running.indices[serving(running)].mappings["properties"][FIELD]
        mapping["method"]["parameters"]["n_postings"] = POSTINGS
        index_documents(cluster_of(running), "products", [dataset.path], workers=1)
        yield running


def cluster_of(server: MLCommonsServer) -> Cluster:
    return Cluster(server.url, retries=2, backoff=0.01)


def serving(server: MLCommonsServer) -> str:
    (name,) = (name for name, index in server.indices.items() if "products" in index.aliases)
    return name


def copies_in(server: MLCommonsServer) -> list[str]:
    return [name for name in server.indices if "tuning-copy" in name]


def parameters_in(server: MLCommonsServer, index: str) -> dict[str, float]:
    return parameters_of(server.indices[index].mappings, FIELD)


def test_builds_are_made_measured_named_and_deleted(
    server: MLCommonsServer, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[dict[str, float]] = []
    merge = force_merge

    def merged(api: ClusterApi, name: str) -> None:
        made.append(parameters_in(server, name))
        merge(api, name)

    monkeypatch.setattr(copies_module, "force_merge", merged)
    subject, now = read_subject(cluster_of(server), "products", dataset.path, 0), time.monotonic()
    plan = measure_finalists(subject, [Setting(), Setting(seismic=Seismic(3))], {}, [], 2, now, now + 60)
    assert not copies_in(server) and made[0] == parameters_in(server, serving(server))
    assert [{**made[0], **(row["build"] or {})} for row in plan.built] == made
    rows = {str(sorted((row["build"] or {}).items())): row for row in plan.built}
    present, exact = plan.built[0], plan.built[1]
    assert exact["build"] == {"threshold": DEFAULT_THRESHOLD} and exact["recall"] == 1.0 > present["recall"]
    more = rows[str([("n_postings", 4 * POSTINGS)])]
    fewer = rows[str([("n_postings", POSTINGS // 2)])]
    assert exact["recall"] >= more["recall"] > present["recall"] > fewer["recall"]
    assert more["bytes"] > present["bytes"] > fewer["bytes"] > exact["bytes"]
    text = str(plan)
    assert f"built n_postings {4 * POSTINGS}: recall@10 {more['recall']:.4f}" in text and "as the present index" in text
    plan.save(tmp_path / "plan.json")
    assert TuningPlan.open(tmp_path / "plan.json") == plan
    assert any(point.setting.build == SeismicBuild(threshold=DEFAULT_THRESHOLD) for point in plan.points)
    assert all(point.recall is not None and point.bytes > 0 for point in plan.points)
    best = max(plan.built[2:], key=lambda row: (row["recall"], -row["bytes"]))["build"]
    assert SeismicBuild(**best) in {point.setting.build for point in plan.points}, "the best beside the exact one"
    assert plan.present.recall == present["recall"], "measured in one segment, as the builds are"


def test_no_build_is_begun_that_would_end_too_late(server: MLCommonsServer, dataset: Dataset) -> None:
    subject = read_subject(cluster_of(server), "products", dataset.path, 0)
    with copies_of(subject.api, "products", subject.concrete, FIELD) as copies:
        trials = BuildTrials.start(subject, copies, [Setting()])
        trials.run(0.0)
        assert [trial.build for trial in trials.trials] == [None] and list(copies.places) == [None]
        assert trials.untried > 5 and "builds were not tried: no time was left" in trials.notes()[-1]
    assert not copies_in(server)


@pytest.mark.parametrize("problem", [ClusterError("no space left on device"), KeyboardInterrupt()], ids=repr)
def test_a_run_that_ends_early_leaves_no_index(
    problem: BaseException, server: MLCommonsServer, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []

    def merged(api: ClusterApi, name: str) -> None:
        seen.append(copies_in(server))
        if len(seen) == 3:
            raise problem

    monkeypatch.setattr(copies_module, "force_merge", merged)
    subject = read_subject(cluster_of(server), "products", dataset.path, 0)
    with pytest.raises(type(problem)), copies_of(subject.api, "products", subject.concrete, FIELD) as copies:
        BuildTrials.start(subject, copies, [Setting()]).run(math.inf)
    assert len(seen[-1]) == 3 and not copies_in(server)


def test_an_index_that_cannot_be_deleted_does_not_keep_the_others(
    server: MLCommonsServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    api = ClusterApi(cluster_of(server))
    concrete = serving(server)
    delete = ClusterApi.delete_index

    def refused(self: ClusterApi, name: str) -> None:
        if name.endswith("-0"):
            raise ClusterError("blocked")
        delete(self, name)

    monkeypatch.setattr(ClusterApi, "delete_index", refused)
    with copies_of(api, "products", concrete, FIELD) as copies:
        for build in (SeismicBuild(n_postings=1), SeismicBuild(n_postings=2)):
            copies.add(build)
    assert copies_in(server) == ["products-tuning-copy-0"] and "could not be deleted (blocked)" in caplog.text
    monkeypatch.undo()
    with copies_of(api, "products", concrete, FIELD):
        assert not copies_in(server)


def test_a_copy_is_waited_for_while_its_clusters_are_built(
    server: MLCommonsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refresh builds them: minutes for 8,028 documents on a busy node, where a request has 60 seconds otherwise."""
    waits: list[float | None] = []
    request = Cluster.request

    def noted(self: Cluster, method: str, path: str, **options: Any) -> Any:
        if path.endswith(("_refresh", "_forcemerge")):
            waits.append(options.get("timeout"))
        return request(self, method, path, **options)

    monkeypatch.setattr(Cluster, "request", noted)
    with copies_of(ClusterApi(cluster_of(server)), "products", serving(server), FIELD) as copies:
        copies.add(SeismicBuild(n_postings=2))
    assert waits[:2] == [MERGE_TIMEOUT, MERGE_TIMEOUT]


def plan_of(server: MLCommonsServer, setting: Setting) -> TuningPlan:
    present = Point(Searcher(cluster_of(server), "products").setting, 1, 1.0, {}, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1)
    chosen = replace(present, setting=setting, test=0.9)
    return TuningPlan("products", "", {}, [], [present, chosen], 1, True, "", [], 2, 1.0)


def test_a_chosen_build_takes_over_and_is_kept(
    server: MLCommonsServer, lookup: Bundle, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = cluster_of(server)
    old = serving(server)
    encoded: list[str] = []
    predict = Runtime.predict

    def noted(self: Runtime, text: str, form: Any = "WORD") -> Any:
        encoded.append(text)
        return predict(self, text, form)

    monkeypatch.setattr(Runtime, "predict", noted)
    setting = Setting(seismic=Seismic(heap_factor=2.0), build=SeismicBuild(n_postings=9, ceiling_ingest=2.5))
    with pytest.raises(InputError, match="needs the deployed bundle"):
        apply_plan(cluster, "products", plan_of(server, setting), Searcher(cluster, "products"), dataset.path)
    asked = apply_plan(
        cluster, "products", plan_of(server, setting), Searcher(cluster, "products"), dataset.path, lookup
    )
    new = serving(server)
    assert f"moved from {old} to {new}" in asked and "nDCG@10" in asked and "rollback" in asked
    assert parameters_in(server, new) == {**parameters_in(server, old), "n_postings": 9, "ceiling_ingest": 2.5}
    texts = {document["text"] for document in server.indices[new].documents.values()}
    assert not texts & {*encoded}, "no document is encoded again"
    before, after = ({i: d[FIELD] for i, d in server.indices[name].documents.items()} for name in (old, new))
    assert before == after and server.indices[new].merged == 1 and Searcher(cluster, "products").setting == setting
    again = Setting(build=SeismicBuild(n_postings=12))
    apply_plan(cluster, "products", plan_of(server, again), Searcher(cluster, "products"), dataset.path, lookup)
    third = serving(server)
    assert parameters_in(server, third) == {**parameters_in(server, new), "n_postings": 12}
    rollback(cluster, "products")
    assert "products" in server.indices[new].aliases
    other = make_lookup_bundle(tmp_path, seed=1)
    deploy(other, cluster, "products")
    fourth = serving(server)
    assert parameters_in(server, fourth)["n_postings"] == 9, "the next bundle's index keeps what was chosen"


def test_a_build_that_loses_more_than_promised_does_not_take_over(
    server: MLCommonsServer, lookup: Bundle, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = cluster_of(server)
    old = serving(server)
    measured: dict[str, Any] = {}

    def gate(_: Cluster, data: Path, margin: float) -> Gate:
        measured["margin"] = margin
        return Gate(lambda name: 0.9 if name == old else 0.7, str(data), margin)

    monkeypatch.setattr(apply_module, "gate", gate)
    setting = Setting(build=SeismicBuild(n_postings=1))
    with pytest.raises(CheckError, match="nDCG@10"):
        apply_plan(cluster, "products", plan_of(server, setting), Searcher(cluster, "products"), dataset.path, lookup)
    assert measured["margin"] == pytest.approx(0.105) and "products" in server.indices[old].aliases


def test_candidates_change_one_parameter_each() -> None:
    parameters = {"n_postings": 400, "cluster_ratio": 0.1, "summary_prune_ratio": 0.4, "ceiling_ingest": 3.0,
                  "ceiling_search": 9.0, "threshold": 100}  # fmt: skip
    present = PresentBuild(parameters, 1000, largest=3.4, nearly_largest=2.1)
    listed = candidates(present)
    assert listed[0] == SeismicBuild(threshold=DEFAULT_THRESHOLD)
    assert all(len(build.given) == 1 for build in listed) and len(set(listed)) == len(listed)
    assert [b.ceiling_ingest for b in listed if b.ceiling_ingest] == [3.4, 2.1], "one cuts nothing, one is finer"
    assert not any(build.given.items() <= parameters.items() for build in listed)
    exact = candidates(replace(present, parameters={**parameters, "threshold": 1001}))
    assert exact[0] == SeismicBuild(threshold=500) and all(build.threshold == 500 for build in exact)


def test_the_best_values_together() -> None:
    def trial(recall: float, size: int, build: SeismicBuild | None = None) -> BuildTrial:
        return BuildTrial(build, 0.5, recall, size, 1.0)

    present = trial(0.95, 100)
    singles = [
        trial(1.0, 30, SeismicBuild(threshold=DEFAULT_THRESHOLD)),
        trial(0.97, 120, SeismicBuild(n_postings=800)),
        trial(0.99, 140, SeismicBuild(n_postings=1600)),
        trial(0.96, 101, SeismicBuild(cluster_ratio=0.2)),
        trial(0.949, 80, SeismicBuild(summary_prune_ratio=0.2)),
        trial(0.90, 50, SeismicBuild(n_postings=200)),
    ]
    assert together(present, singles) == [SeismicBuild(n_postings=1600, cluster_ratio=0.2)]
    assert together(present, [*singles, trial(0.95, 90, SeismicBuild(cluster_ratio=0.05))])[1] == SeismicBuild(
        summary_prune_ratio=0.2, cluster_ratio=0.05
    )


def test_queries_are_asked_among_all_documents(dataset: Dataset) -> None:
    """A filter of at most 10,000 documents makes the search exact."""
    data = open_benchmark(dataset.path)
    apart, merged = questions(data), questions(data, filtered=False)
    assert {question.direction for question in merged} == {"ko->*", "en->*"}
    assert len(merged) == len({question.query for question in apart}) < len(apart)
    assert all(question.lang is None for question in merged)
    for question in merged:
        parts = [one.grades for one in apart if one.query == question.query]
        assert question.grades == {name: grade for part in parts for name, grade in part.items()} and len(parts) == 2
