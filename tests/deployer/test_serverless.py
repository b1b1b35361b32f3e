"""OpenSearch Serverless: what works without the calls that a collection lacks, and what is refused before it is sent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import world
from serverless_collection import ServerlessCollection, serverless_collection

from osparse.cli.main import main
from osparse.contracts.bundle import Bundle
from osparse.deployer import (
    Adoption,
    Cluster,
    Upgrade,
    deploy,
    encode_documents,
    index_documents,
    open_cluster,
    rollback,
    status,
    undeploy,
)
from osparse.deployer.cluster.credentials import Credentials
from osparse.errors import ClusterError, InputError, MissingPluginError
from osparse.integrations import bundle_query_encoder
from osparse.retrieval import evaluate, search

from .test_encode_shards import one_process, write
from .test_other_engines import exact
from .test_remote import documents

__all__ = ["one_process"]

TEXTS = [text for record in world.RECORDS for text in record[1:]]
ROWS = [{"id": f"d{number}", "text": text} for number, text in enumerate(TEXTS)]
BY_ID = [row["id"] for row in ROWS]


@pytest.fixture
def collection(monkeypatch: pytest.MonkeyPatch) -> Iterator[ServerlessCollection]:
    pytest.importorskip("botocore")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "key")
    with serverless_collection() as running:
        yield running
    assert running.refused == [], "nothing is sent that a collection does not have"


@pytest.fixture
def cluster(collection: ServerlessCollection) -> Cluster:
    return open_cluster(collection.url, credentials=Credentials.aws("eu-central-1", "aoss"))


def test_deploy_load_search_and_evaluate(
    collection: ServerlessCollection, cluster: Cluster, small_bundle: Bundle, tmp_path: Path
) -> None:
    planned = deploy(small_bundle, cluster, "products", plan_only=True)
    assert planned.plan.mode == "client" and "Serverless" in planned.plan.why and not collection.indices
    deploy(small_bundle, cluster, "products")
    assert not deploy(small_bundle, cluster, "products").plan.changes
    path = write(tmp_path / "documents.jsonl", [*ROWS, {"id": "gone", "text": "pear"}])
    encode_documents([path], small_bundle, tmp_path / "shards")
    assert index_documents(cluster, "products", [], encoded=tmp_path / "shards").indexed == len(ROWS) + 1
    again = index_documents(
        cluster, "products", [write(tmp_path / "again.jsonl", [*ROWS, {"id": "gone", "_op": "delete"}])]
    )
    assert (again.indexed, again.unchanged, again.deleted) == (0, len(ROWS), 1)
    assert set(documents(collection)) == {row["id"] for row in ROWS}
    (found,) = status(cluster, "products")
    assert found.ready and found.documents == len(ROWS) and [one.index for one in status(cluster)] == [found.index]
    best = exact(small_bundle, bundle_query_encoder(small_bundle), TEXTS[0], dict(zip(BY_ID, TEXTS, strict=True)))
    for hit in search(cluster, "products", TEXTS[0], top=3):
        assert hit.score == pytest.approx(best[hit.id], rel=1e-5)


def test_an_evaluation_gives_the_figures_of_the_bundle(cluster: Cluster, small_bundle: Bundle, tmp_path: Path) -> None:
    dataset = world.make_dataset(tmp_path / "dataset")
    deploy(small_bundle, cluster, "products")
    index_documents(cluster, "products", [dataset.path])
    served = evaluate(dataset.path, cluster=cluster, index="products")
    local = evaluate(dataset.path, bundles=[small_bundle])
    assert [replace(row, system="") for row in served.rows] == [replace(row, system="") for row in local.rows]
    assert served.systems[0]["non_zeros"] == local.systems[0]["non_zeros"]


def test_another_bundle_takes_the_name_over_without_a_copy(
    collection: ServerlessCollection, cluster: Cluster, small_bundle: Bundle, other_bundle: Bundle, tmp_path: Path
) -> None:
    path = write(tmp_path / "documents.jsonl", ROWS)
    deploy(small_bundle, cluster, "products")
    index_documents(cluster, "products", [path])
    with pytest.raises(InputError, match="cannot be copied within a Serverless collection"):
        deploy(other_bundle, cluster, "products")
    staged = deploy(other_bundle, cluster, "products", upgrade=Upgrade(stage=True)).plan.index
    index_documents(cluster, staged, [path])
    deploy(other_bundle, cluster, "products", upgrade=Upgrade(copy=False))
    assert collection.indices[staged].aliases.keys() == {"products"}
    rollback(cluster, "products")
    assert not collection.indices[staged].aliases.keys() & {"products"}
    undeploy(cluster, "products", keep=0)
    assert staged not in collection.indices


@pytest.mark.parametrize("mode", ["ml-commons", "remote"])
def test_models_in_the_cluster_are_refused(mode: Any, cluster: Cluster, small_bundle: Bundle) -> None:
    with pytest.raises(MissingPluginError, match=r"2\.17 \(Serverless\) without"):
        deploy(small_bundle, cluster, "products", mode=mode)


def test_what_a_collection_lacks_is_refused_before_it_is_sent(cluster: Cluster, small_bundle: Bundle) -> None:
    with pytest.raises(InputError, match="no sequence numbers"):
        deploy(small_bundle, cluster, "products", adoption=Adoption("old"))
    for call in ("POST /i/_forcemerge", "GET /i/_stats", "PUT /_cluster/settings", "POST /_search/scroll"):
        with pytest.raises(ClusterError, match=f"Serverless has no {call}, which this needs") as refused:
            cluster.request(*call.split())
        assert "\n" not in str(refused.value)


def test_a_collection_is_known_by_its_address() -> None:
    with pytest.raises(InputError, match="pass `aws_region` and `aws_service=aoss`"):
        open_cluster("https://abc.eu-central-1.aoss.amazonaws.com")


def test_the_commands(
    collection: ServerlessCollection, small_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    aws = ["--cluster", collection.url, "--aws-region", "eu-central-1", "--aws-service", "aoss"]
    path = write(tmp_path / "documents.jsonl", ROWS)
    for command in (
        ["deploy", str(small_bundle.path), *aws, "--index", "products"],
        ["index", *aws, "--index", "products", str(path)],
        ["search", *aws, "--index", "products", TEXTS[0]],
        ["status", *aws, "--index", "products"],
        ["status", *aws, "--metrics"],
        ["explain", *aws, "--index", "products", "pear", "--document", "d0"],
        ["doctor", *aws, "--index", "products"],
    ):
        assert run(command) == 0, capsys.readouterr().err
    capsys.readouterr()
    queries = write(tmp_path / "queries.jsonl", [{"text": text} for text in TEXTS])
    for refused in (["optimise"], ["loadtest", "--queries", str(queries)]):
        assert run([*refused, *aws, "--index", "products"]) == 1
        assert "Serverless has no" in " ".join(capsys.readouterr().err.split())


def run(command: list[str]) -> int:
    with pytest.raises(SystemExit) as ended:
        main(command)
    return int(ended.value.code or 0)
