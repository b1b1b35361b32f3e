"""The on-call path on the real node: an upgrade under a query loop, and faults that ``status`` names with their cure.

What only ML Commons can lack (models, pipelines) is tried on its emulator, in tests/deployer/test_on_call.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lookup_bundle import make_lookup_bundle
from migration_work import Reader, working

from osparse.cli.main import main
from osparse.contracts.bundle import Bundle
from osparse.contracts.dataset import Dataset
from osparse.deployer import Cluster, open_cluster
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.names import BUNDLES_INDEX

pytestmark = [pytest.mark.e2e, pytest.mark.network]
NAME = "on-call"
SLOWEST = 10.0
"""Seconds that a query may take while other work keeps this machine busy; the time itself is in the test's report."""


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Bundle]:
    """The one that serves, and its successor; no other test shares their parts."""
    first, second = (make_lookup_bundle(tmp_path_factory.mktemp("b"), "on-call", seed) for seed in (11, 12))
    return first, second


@pytest.fixture
def cluster(node: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.chdir(tmp_path)
    cluster = open_cluster(node.url)
    yield cluster
    api = ClusterApi(cluster)
    for name in [name for name in api.all_meta() if name.startswith(f"{NAME}-")]:
        api.delete_index(name)
    api.delete_ingest_pipeline("on-call-other")


def osparse(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    return int(stopped.value.code or 0)


def test_an_upgrade_and_a_rollback_under_a_query_loop(
    cluster: Cluster,
    bundles: tuple[Bundle, Bundle],
    dataset: Dataset,
    record_testsuite_property: Callable[[str, object], None],
) -> None:
    target = ("--cluster", cluster.url, "--index", NAME)
    assert osparse("deploy", str(bundles[0].path), *target) == osparse("index", *target, str(dataset.path)) == 0
    ClusterApi(cluster).refresh(NAME)
    with working(*(readers := [Reader(cluster.url, NAME, {"size": 1}) for _ in range(2)])):
        assert osparse("deploy", str(bundles[1].path), *target) == 0
        assert osparse("rollback", *target) == 0
    asked = [second for reader in readers for second in reader.seconds]
    record_testsuite_property("queries", len(asked))
    record_testsuite_property("slowest query in seconds", max(asked))
    assert [failure for reader in readers for failure in reader.failed] == []
    assert len(asked) > 20 and max(asked) < SLOWEST
    assert {*readers[0].indices} == {f"{NAME}-{bundle.short}" for bundle in bundles}


def close(cluster: Cluster, index: str, bundle: Bundle) -> None:
    cluster.request("POST", f"/{index}/_close")


def drop_alias(cluster: Cluster, index: str, bundle: Bundle) -> None:
    cluster.request("DELETE", f"/{index}/_alias/{NAME}")


def drop_parts(cluster: Cluster, index: str, bundle: Bundle) -> None:
    """Bytes of the encoder, not the record of them."""
    cluster.request("DELETE", f"/{BUNDLES_INDEX}/_doc/{bundle.files['onnx'].sha256}-0", params={"refresh": "true"})


def set_pipeline(cluster: Cluster, index: str, bundle: Bundle) -> None:
    cluster.request("PUT", "/_ingest/pipeline/on-call-other", body={"processors": []})
    cluster.request("PUT", f"/{index}/_settings", body={"index.default_pipeline": "on-call-other"})


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        (close, r"the index is closed and answers nothing; open it with: (POST /\S+/_open)"),
        (drop_alias, r"no alias points to the index; run (osparse deploy) again"),
        (drop_parts, rf"the onnx part in {BUNDLES_INDEX} is not whole; run (osparse deploy) again"),
        (set_pipeline, r"default_pipeline .*; run (osparse status --heal)"),
    ],
)
def test_status_names_a_fault_and_its_cure(
    fault: Callable[[Cluster, str, Bundle], None],
    line: str,
    cluster: Cluster,
    bundles: tuple[Bundle, Bundle],
    capsys: pytest.CaptureFixture[str],
) -> None:
    target = ("--cluster", cluster.url, "--index", NAME)
    index = f"{NAME}-{bundles[0].short}"
    assert osparse("deploy", str(bundles[0].path), *target) == 0
    fault(cluster, index, bundles[0])
    capsys.readouterr()
    assert osparse("status", "--cluster", cluster.url, "--index", index) == 1
    shown = capsys.readouterr().out
    cures = {found[1] for text in shown.splitlines() if (found := re.search(rf"problem: .*{line}", text))}
    assert len(cures) == 1, shown
    (cure,) = cures
    if cure.startswith("POST"):
        cluster.request("POST", cure.removeprefix("POST "))
    else:
        command = ("status", *target, "--heal") if "heal" in cure else ("deploy", str(bundles[0].path), *target)
        assert osparse(*command) == 0
    assert osparse("status", *target) == 0
