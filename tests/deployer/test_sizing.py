"""The capacity sheet against a second computation of each figure, from files, an osparse index and a foreign one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlcommons_server import MLCommonsServer

from osparse.cli.main import main
from osparse.contracts.bundle import Bundle
from osparse.deployer import deploy, index_documents, sizing
from osparse.deployer.encode.encoders import open_source
from osparse.deployer.sizing import rates
from osparse.deployer.sizing.cluster_limits import ClusterLimits
from osparse.encoders.onnx_encoder import OnnxEncoder
from osparse.errors import InputError
from osparse.formula.server_costs import (
    REST_BYTES_PER_JSON_BYTE,
    SEISMIC_HEAP_PER_WEIGHT,
    model_memory,
    sparse_field_bytes,
)

from .conftest import TEXTS, client

ROWS = [{"id": str(n), "text": f"{TEXTS[n % len(TEXTS)]} {n}", "shelf": n} for n in range(40)]


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Worker processes take a second to start; this is the same encoder."""
    monkeypatch.setattr(rates, "open_source", lambda archive, form, workers, total, window_weight: (
        open_source(archive, form, None, 1, window_weight=window_weight)
    ))  # fmt: skip


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS), encoding="utf-8")
    return path


def mean_nonzeros(bundle: Bundle) -> float:
    return float(np.mean([len(vector) for vector in OnnxEncoder.open(bundle).encode([str(r["text"]) for r in ROWS])]))


def test_files(small_bundle: Bundle, documents: Path) -> None:
    sheet = sizing(small_bundle, [documents], documents=7_000, replicas=2, field="sparse_vector", workers=3)
    mean = mean_nonzeros(small_bundle)
    sizes = [len(json.dumps({k: r[k] for k in ("text", "shelf")}, ensure_ascii=False, separators=(",", ":")).encode())
             for r in ROWS]  # fmt: skip
    million, own = sheet.sizes
    assert (million.documents, own.documents, sheet.sample["documents"]) == (1_000_000, 7_000, len(ROWS))
    assert own.vector_bytes == pytest.approx(7_000 * sparse_field_bytes(mean, seismic=True), abs=1)
    assert own.rest_bytes == pytest.approx(7_000 * np.mean(sizes) * REST_BYTES_PER_JSON_BYTE, abs=1)
    assert own.all_copies_bytes == pytest.approx(3 * own.index_bytes, abs=3)
    assert own.switch_bytes == pytest.approx(3 * own.index_bytes + 3 * 1.5 * own.index_bytes, abs=10)
    assert own.switch_disk_bytes == pytest.approx(own.switch_bytes / 0.9, abs=10)
    assert own.seismic_heap_bytes == pytest.approx(7_000 * mean * SEISMIC_HEAP_PER_WEIGHT, abs=1)
    assert own.hours_here == pytest.approx(7_000 / sheet.rates["here"] / 3600) and own.hours_cluster is None
    file = small_bundle.files["onnx"]
    assert sheet.model_memory_bytes == {"onnx": int(model_memory("ONNX", file.size))}
    assert sizing(small_bundle, [documents]).sizes[1].documents == len(ROWS)


def stored(server: MLCommonsServer, bundle: Bundle, documents: Path) -> Any:
    cluster = client(server)
    deploy(bundle, cluster, "products")
    index_documents(cluster, "products", [documents])
    return cluster


def test_an_index_of_osparse_s_own(server: MLCommonsServer, small_bundle: Bundle, documents: Path) -> None:
    """Its vectors are counted, its size is measured, and the model that it is served by is timed."""
    cluster = stored(server, small_bundle, documents)
    before = server.state()
    sheet = sizing(cluster=cluster, index="products")
    assert server.state() == before
    mean = mean_nonzeros(small_bundle)
    assert sheet.sample["weights"]["mean"] == pytest.approx(mean, rel=1e-3)
    assert sheet.rates["here"] is None and sheet.rates["cluster"] > 0
    million, own = sheet.sizes
    assert own.documents == len(ROWS) and million.hours_cluster == pytest.approx(1e6 / sheet.rates["cluster"] / 3600)
    index = cluster.request("GET", "/products/_stats/store").body
    size = index["_all"]["primaries"]["store"]["size_in_bytes"]
    expected = max(size, len(ROWS) * sparse_field_bytes(mean))
    assert own.index_bytes == pytest.approx(expected, rel=0.01)
    assert (sheet.limits.running, sheet.limits.nodes, sheet.replicas) == (2, 1, 0)
    assert "2 taken" in str(sheet) and "hours to encode on the cluster" in str(sheet)


def test_an_index_that_is_to_be_adopted(core: MLCommonsServer, small_bundle: Bundle) -> None:
    cluster = client(core)
    cluster.request("PUT", "/shelf", body={"mappings": {"properties": {"name": {"type": "text"}}}})
    for row in ROWS:
        cluster.request("PUT", f"/shelf/_doc/{row['id']}", body={"name": row["text"]})
    cluster.request("POST", "/shelf/_refresh")
    with pytest.raises(InputError, match="no vectors yet; give a `bundle`"):
        sizing(cluster=cluster, index="shelf", text_field="name", template="{name}")
    sheet = sizing(small_bundle, cluster=cluster, index="shelf", template="{name}")
    size = cluster.request("GET", "/shelf/_stats/store").body["_all"]["primaries"]["store"]["size_in_bytes"]
    assert sheet.sizes[1].rest_bytes == pytest.approx(size, abs=len(ROWS))
    assert sheet.sample["weights"]["mean"] == pytest.approx(mean_nonzeros(small_bundle), rel=1e-3)
    assert sheet.rates["cluster"] is None and "encoding on the cluster: not known" in str(sheet)
    models = [call for call in core.calls if "/_ml/models" in call.path]
    assert not models, "without the plugin OpenSearch answers 400, which is an error"


def test_watermarks() -> None:
    assert ClusterLimits(watermark="85%").disk_of(85) == pytest.approx(100)
    assert ClusterLimits(watermark="0.8").disk_of(80) == pytest.approx(100)
    assert ClusterLimits(nodes=3, watermark="10gb").disk_of(1e9) == pytest.approx(31e9)


def test_the_command(small_bundle: Bundle, documents: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*arguments: str) -> int:
        with pytest.raises(SystemExit) as stopped:
            main(["doctor", *arguments])
        return int(stopped.value.code or 0)

    options = ("--sizing", "--bundle", str(small_bundle.path), str(documents), "--documents", "5000", "--workers", "1")
    assert run(*options) == 0
    shown = capsys.readouterr().out
    assert re.search(r"1,000,000 documents +5,000 documents\n", shown)
    assert re.search(r"index, one copy +\d[^\n]*B\n", shown) and "give documents" not in shown
    assert run(*options, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["sizes"][1]["documents"] == 5000 and result["model_slots"]["while_two_run"] == 4
    assert run("--bundle", str(small_bundle.path)) == 2 and "--sizing" in capsys.readouterr().err
    assert run("--sizing") == 2 and "--index" in capsys.readouterr().err


def test_what_cannot_be_sized(core: MLCommonsServer, small_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text('{"id": "1"}\n', encoding="utf-8")
    with pytest.raises(InputError, match="no row is a document with an id and a text .*text must be a text"):
        sizing(small_bundle, [tmp_path / "empty.jsonl"])
    with pytest.raises(InputError, match="nowhere is no index"):
        sizing(small_bundle, cluster=client(core), index="nowhere")
    with pytest.raises(InputError, match="give `cluster` too"):
        sizing(small_bundle, index="nowhere")
