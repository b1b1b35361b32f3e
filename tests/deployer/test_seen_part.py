"""What a model was trained on goes with its bundle into the cluster, so that evaluation and the gate can tell."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from mlcommons_server import MLCommonsServer

from osparse.cli.main import cli
from osparse.contracts.bundle import Bundle
from osparse.contracts.dataset import Dataset
from osparse.contracts.seen import SeenTexts
from osparse.deployer import Upgrade, deploy, index_documents
from osparse.errors import BundleError
from osparse.retrieval import evaluate, gate

from .conftest import client


def with_texts(bundle: Bundle, folder: Path, texts: SeenTexts) -> Bundle:
    """A copy of the bundle whose model learnt from the texts."""
    shutil.copytree(bundle.path, folder)
    replace(bundle, path=folder, seen=texts.write(folder)).save()
    return Bundle.open(folder)


def held_back_texts(dataset: Dataset) -> tuple[list[str], list[str]]:
    """Documents and queries of the test split, by id."""
    documents, queries = dataset.split_documents("test").sort("id").collect(), dataset.split_queries("test").collect()
    return documents["text"].to_list(), queries["text"].to_list()


@pytest.fixture
def rows(dataset: Dataset, tmp_path: Path) -> Path:
    path = tmp_path / "documents.jsonl"
    lines = dataset.documents.select("id", "text", "lang").collect().to_dicts()
    path.write_text("".join(json.dumps(row) + "\n" for row in lines), encoding="utf-8")
    return path


@pytest.mark.parametrize("where", ["core", "server"])
def test_an_index_knows_what_its_model_was_trained_on(
    where: str, dataset: Dataset, small_bundle: Bundle, rows: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Two of four answers; in client mode and with ML Commons, without the bundle's folder."""
    documents, _ = held_back_texts(dataset)
    bundle = with_texts(small_bundle, tmp_path / "knowing", SeenTexts.of(documents[:2], [], ["start bert"]))
    cluster = client(request.getfixturevalue(where))
    result = deploy(bundle, cluster, "products")
    assert "seen" in str(result.plan)
    assert not deploy(bundle, cluster, "products").plan.changes
    shutil.rmtree(bundle.path)
    index_documents(cluster, "products", [rows])
    report = evaluate(dataset.path, cluster=cluster, index="products")
    counts = {"answers": 4, "answers_seen": 2, "queries": 4, "queries_seen": 0, "unknown": ["start bert"]}
    assert report.systems[0]["trained_on"] == counts
    assert any("2 of 4 test answers and 0 of 4 test queries were trained on" in note for note in report.notes)
    assert "(not known of its start bert)" in str(report)
    local = evaluate(dataset.path, bundles=[with_texts(small_bundle, tmp_path / "b", SeenTexts.of(documents[:2], []))])
    assert [row.queries for row in local.rows if row.not_trained_on] == [
        row.queries for row in report.rows if row.not_trained_on
    ]


def test_a_bundle_without_the_list_is_not_known(
    core: MLCommonsServer, dataset: Dataset, small_bundle: Bundle, rows: Path
) -> None:
    cluster = client(core)
    deploy(small_bundle, cluster, "products")
    index_documents(cluster, "products", [rows])
    report = evaluate(dataset.path, cluster=cluster, index="products", bundles=[small_bundle])
    assert [system["trained_on"] for system in report.systems] == [{"known": False}] * 2
    assert str(report).count("what it was trained on is not known") == 2


def test_the_gate_tells_of_leaked_answers_and_measures_without_them(
    core: MLCommonsServer, dataset: Dataset, small_bundle: Bundle, make_bundle: Callable[..., Bundle], rows: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    documents, queries = held_back_texts(dataset)
    old = with_texts(small_bundle, tmp_path / "old", SeenTexts.of([], []))
    new = with_texts(make_bundle(seed=1), tmp_path / "new", SeenTexts.of([], queries[:1]))
    cluster = client(core)
    deploy(old, cluster, "products")
    index_documents(cluster, "products", [rows])
    result = deploy(new, cluster, "products", upgrade=Upgrade(gate=gate(cluster, dataset.path, margin=1.0)))
    (line,) = [line for line in result.gate if "nDCG@10" in line]
    assert f"products-{new.short}: 0 of 4 test answers and 1 of 4 test queries were trained on" in line
    assert "without them (6 queries): " in line and f"products-{old.short}: " not in line
    report = evaluate(dataset.path, cluster=cluster, index="products")
    affected = {row.direction for row in report.rows if row.not_trained_on}
    assert len(affected) == 2
    rest = [row for row in report.rows if row.not_trained_on or (row.whole and row.direction not in affected)]
    mean = sum(row.figures["nDCG@10"] * row.queries for row in rest) / sum(row.queries for row in rest)
    assert sum(row.queries for row in rest) == 6 and f"(6 queries): {mean:.4f}," in line


def test_the_gate_says_where_nothing_is_known(
    core: MLCommonsServer, dataset: Dataset, small_bundle: Bundle, other_bundle: Bundle, rows: Path
) -> None:
    cluster = client(core)
    deploy(small_bundle, cluster, "products")
    index_documents(cluster, "products", [rows])
    result = deploy(other_bundle, cluster, "products", upgrade=Upgrade(gate=gate(cluster, dataset.path, margin=1.0)))
    (line,) = [line for line in result.gate if "nDCG@10" in line]
    assert line.count("what its model was trained on is not known") == 2 and "without them" not in line


def test_a_list_that_was_changed_breaks_the_bundle(small_bundle: Bundle, tmp_path: Path) -> None:
    bundle = with_texts(small_bundle, tmp_path / "copy", SeenTexts.of(["a"], []))
    (bundle.path / "seen.bin").write_bytes(b"other")
    with pytest.raises(BundleError, match=r"seen.bin: sha256"):
        Bundle.open(bundle.path)
    (bundle.path / "seen.bin").unlink()
    with pytest.raises(BundleError, match=r"seen.bin is missing"):
        Bundle.open(bundle.path)


def test_undeploy_removes_the_list(core: MLCommonsServer, small_bundle: Bundle, tmp_path: Path) -> None:
    bundle = with_texts(small_bundle, tmp_path / "copy", SeenTexts.of(["a"], []))
    deploy(bundle, client(core), "products")
    stored = core.indices["osparse-bundles"].documents
    assert f"{bundle.seen.sha256}-0" in stored  # type: ignore[union-attr]
    shown = CliRunner().invoke(cli, ["undeploy", "--index", "products", "--cluster", core.url, "--all"])
    assert shown.exit_code == 0, shown.output
    assert not any(name.startswith(bundle.seen.sha256) for name in stored)  # type: ignore[union-attr]
