"""Settings on the real node: what is simulated is what it answers, and a whole run with a pruned index."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from osparse.contracts.bundle import Bundle
from osparse.contracts.dataset import Dataset
from osparse.deployer import Cluster, deploy, index_documents, open_cluster
from osparse.deployer.cluster.api import ClusterApi
from osparse.evaluation.measures import NDCG, open_benchmark
from osparse.retrieval import Searcher, evaluate, tune
from osparse.retrieval.serving.settings import Feedback, Hybrid, Pruning, QueryWeights, Setting, TwoPhase
from osparse.retrieval.tuning.applying.copies import copies_of
from osparse.retrieval.tuning.questions import questions
from osparse.retrieval.tuning.subject import read_subject

pytestmark = [pytest.mark.e2e, pytest.mark.network]
INDEX = "tuned"
SETTINGS = [
    Setting(),
    Setting(QueryWeights(power=1.5, drop_ratio=0.2)),
    Setting(two_phase=TwoPhase(0.6, 1.0)),
    Setting(feedback=Feedback(2, 5, 0.5)),
    Setting(feedback=Feedback(3, 8, 1.0, rerank=4)),
    Setting(hybrid=Hybrid("z_score", "harmonic_mean", 0.7)),
    Setting(hybrid=Hybrid("rrf", weight=0.6), feedback=Feedback(1, 3, 0.3)),
]


@pytest.fixture(scope="module")
def cluster(node: Any, bundle: Bundle, dataset: Dataset) -> Iterator[Cluster]:
    opened = open_cluster(node.url)
    deploy(bundle, opened, INDEX, mode="client")
    index_documents(opened, INDEX, [dataset.path])
    yield opened
    for name in ClusterApi(opened).all_meta(f"{INDEX}-*"):
        opened.request("DELETE", f"/{name}")


@pytest.mark.parametrize("pruning", [None, Pruning("max_ratio", 0.5)], ids=str)
def test_the_node_answers_as_simulated(pruning: Pruning | None, cluster: Cluster, dataset: Dataset) -> None:
    subject = read_subject(cluster, INDEX, dataset.path, 0)
    asked, compared = questions(open_benchmark(dataset.path, "train")), 0
    with copies_of(subject.api, INDEX, subject.concrete, subject.searcher.deployment.field) as copies:
        copies.add(pruning)
        for plain in SETTINGS:
            setting = Setting(plain.query, plain.two_phase, plain.feedback, plain.hybrid, None, pruning)
            simulated = subject.ranker.rankings(setting, asked)
            served = subject.live(copies.places[pruning]).rankings(setting, asked)
            for question, expected, answer in zip(asked, simulated, served, strict=True):
                assert answer == expected, (str(setting), question.text)
                compared += len(expected)
    assert compared > 500
    assert not ClusterApi(cluster).all_meta(f"{INDEX}-tuning-copy-*")


def test_a_run_and_its_promise(cluster: Cluster, dataset: Dataset) -> None:
    plan = tune(cluster, INDEX, dataset.path, minutes=0.2, apply=True)
    assert any("as simulated" in note for note in plan.notes) and plan.choice.p95 > 0 and plan.choice.bytes > 0
    report = evaluate(open_benchmark(dataset.path), cluster=cluster, index=INDEX, measures=[NDCG])
    rows = [row for row in report.rows if not row.no_shared_word]
    measured = {row.direction: row.figures[NDCG] for row in rows}
    promised = plan.choice if plan.change else plan.present
    assert measured == pytest.approx(promised.by_direction)
    assert Searcher(cluster, INDEX).setting == promised.setting
