"""Two bundles side by side in one index of the real node: each field ranks as an index of its own bundle alone does."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from lookup_bundle import make_lookup_bundle

from osparse.cli.main import main
from osparse.contracts.bundle import Bundle
from osparse.contracts.dataset import Dataset
from osparse.deployer import Cluster, deploy, index_documents, open_cluster, rollback, status, undeploy
from osparse.evaluation.measures import open_benchmark
from osparse.retrieval import Searcher, evaluate

pytestmark = [pytest.mark.e2e, pytest.mark.network]


@pytest.fixture(autouse=True)
def quiet_after() -> Iterator[None]:
    """A command's log handler writes to the captured stream of its own test."""
    yield
    logging.getLogger("osparse").handlers.clear()


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Bundle]:
    a, b = (make_lookup_bundle(tmp_path_factory.mktemp(name), name, seed) for seed, name in enumerate("ab"))
    return a, b


@pytest.fixture(scope="module")
def cluster(node: Any, bundles: tuple[Bundle, Bundle], dataset: Dataset) -> Iterator[Cluster]:
    """``both`` is an upgrade from a to b that keeps the weights of a; ``a`` and ``b`` hold one bundle's each."""
    cluster, (a, b) = open_cluster(node.url), bundles
    for index, bundle in (("both", a), ("a", a), ("b", b)):
        deploy(bundle, cluster, index, mode="client")
        index_documents(cluster, index, [dataset.path])
    fields = [f"old_sparse=text^0@{a.path}", "title_sparse=title^2"]
    deploy(b, cluster, "both", mode="client", sparse_fields=fields)
    yield cluster
    for index in ("both", "a", "b"):
        undeploy(cluster, index, everything=True)


def test_each_field_measures_as_an_index_of_its_own(
    cluster: Cluster, dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    data = open_benchmark(dataset.path, "test")
    fields = ["old_sparse", "sparse_embedding", "old_sparse+sparse_embedding"]
    report = evaluate(data, cluster=cluster, index="both", sparse_fields=fields)
    names = [f"index both {field}" for field in fields]
    assert [system["name"] for system in report.systems] == names
    for name, alone in zip(names[:2], ("a", "b"), strict=True):
        own = evaluate(data, cluster=cluster, index=alone)
        expected = [(row.direction, row.figures) for row in own.rows]
        assert [(row.direction, row.figures) for row in report.rows if row.system == name] == expected
    compared = [row for row in report.rows if row.system == names[1]]
    assert all(row.difference is not None for row in compared), "one table with gain and p"
    flags = [word for field in fields for word in ("--sparse-field", field)]
    with pytest.raises(SystemExit) as ended:
        main(
            ["evaluate", "--dataset", str(dataset.path), "--cluster", cluster.url, "--index", "both", "--json", *flags]
        )
    shown = json.loads(capsys.readouterr().out)
    assert not ended.value.code and [system["name"] for system in shown["systems"]] == names


def test_a_search_of_several_fields_sums_their_scores(cluster: Cluster, dataset: Dataset) -> None:
    data = open_benchmark(dataset.path, "test")
    for text in [*data.sets[0].queries.values()][:3]:
        by_field = {
            name: {
                hit.id: hit.score for hit in Searcher(cluster, "both", sparse_fields=[name]).search(text, top=99).hits
            }
            for name in ("sparse_embedding", "title_sparse", "old_sparse")
        }
        body, title = by_field["sparse_embedding"], by_field["title_sparse"]
        expected = {i: body.get(i, 0.0) + 2 * title.get(i, 0.0) for i in {*body, *title}}
        found = Searcher(cluster, "both").search(text, top=99, explain=True).hits
        assert {hit.id: hit.score for hit in found} == pytest.approx(expected, rel=1e-5)
        for hit in found:
            assert sum(match.contribution for match in hit.matched) == pytest.approx(hit.score, rel=1e-5)
        assert by_field["old_sparse"] == pytest.approx(
            {hit.id: hit.score for hit in Searcher(cluster, "a").search(text, top=99).hits}, rel=1e-5
        )


def test_status_and_rollback(cluster: Cluster, bundles: tuple[Bundle, Bundle]) -> None:
    assert all(one.ready for one in status(cluster) if one.index.startswith("both"))
    rollback(cluster, "both")
    assert not Searcher(cluster, "both").has_several_fields
    rollback(cluster, "both")
    assert Searcher(cluster, "both").has_several_fields
