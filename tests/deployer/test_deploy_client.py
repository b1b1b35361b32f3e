"""Client mode: parts stored in the cluster, documents encoded here, the index read back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner
from mlcommons_server import Fault, MLCommonsServer, mlcommons_server

from osparse.cli.main import cli
from osparse.contracts.bundle import Bundle
from osparse.contracts.deployment import feature_name
from osparse.deployer import deploy, index_documents, query_encoder, read_deployment, status
from osparse.deployer.load import bundle_store
from osparse.deployer.names import BUNDLES_INDEX
from osparse.errors import BundleError, ClusterError, DeploymentConflictError, InputError, OsparseError

from .conftest import TEXTS, client


def documents(folder: Path, extra: Sequence[Mapping[str, object]] = ()) -> Path:
    rows = [{"id": str(n), "text": text, "lang": "xx"} for n, text in enumerate(TEXTS)] + [dict(row) for row in extra]
    path = folder / "documents.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_the_road(core: MLCommonsServer, small_bundle: Bundle, tmp_path: Path) -> None:
    cluster = client(core)
    result = deploy(small_bundle, cluster, "products")
    assert result.plan.mode == "client" and "without opensearch-ml and opensearch-neural-search" in result.plan.why
    assert '"rank_feature"' in result.snippets and "GET products/_search" in result.snippets
    deployment = read_deployment(cluster, "products")
    assert deployment == result.deployment and deployment.key_style == "u2024"
    encoder = query_encoder(cluster, deployment)
    assert [encoder.encode(p.text) for p in small_bundle.probes()] == [p.query for p in small_bundle.probes()]
    load = index_documents(cluster, "products", [documents(tmp_path)], batch=3, failures=tmp_path / "failed.jsonl")
    assert (load.indexed, load.unchanged, load.failed) == (4, 0, 0) and not (tmp_path / "failed.jsonl").exists()
    stored = core.indices[f"products-{small_bundle.short}"].documents
    for number, probe in enumerate(small_bundle.probes()):
        wanted = {feature_name(token, "u2024"): weight for token, weight in probe.document.items()}
        assert stored[str(number)]["sparse_embedding"] == pytest.approx(wanted, abs=1e-5)
    assert any("\u2024" in key for source in stored.values() for key in source["sparse_embedding"])
    assert not any("." in key for source in stored.values() for key in source["sparse_embedding"])
    again = index_documents(cluster, "products", [documents(tmp_path)])
    assert (again.indexed, again.unchanged) == (0, 4)
    (found,) = status(cluster)
    assert found.ready and found.documents == 4 and found.aliases == ["products"]


def test_a_changed_document_is_indexed_again(core: MLCommonsServer, small_bundle: Bundle, tmp_path: Path) -> None:
    cluster = client(core)
    deploy(small_bundle, cluster, "products")
    index_documents(cluster, "products", [documents(tmp_path)])
    load = index_documents(cluster, "products", [documents(tmp_path, [{"id": "0", "text": "bread"}])])
    assert (load.indexed, load.unchanged, load.repeated) == (1, 3, 1)
    assert core.indices[f"products-{small_bundle.short}"].documents["0"]["text"] == "bread"


def test_blank_text_is_stored_without_features(core: MLCommonsServer, small_bundle: Bundle, tmp_path: Path) -> None:
    cluster = client(core)
    deploy(small_bundle, cluster, "products")
    index_documents(cluster, "products", [documents(tmp_path, [{"id": "e", "text": " "}])])
    assert "sparse_embedding" not in core.indices[f"products-{small_bundle.short}"].documents["e"]


def test_failed_documents_are_listed(core: MLCommonsServer, small_bundle: Bundle, tmp_path: Path) -> None:
    cluster = client(core)
    deploy(small_bundle, cluster, "products")
    rows = [{"id": "x"}, {"id": "y", "text": "ok", "date": "2024-01-01"}]
    load = index_documents(cluster, "products", [documents(tmp_path, rows)], failures=tmp_path / "out" / "failed.jsonl")
    assert (load.indexed, load.failed) == (5, 1)
    (line,) = (tmp_path / "out" / "failed.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["id"] == "x" and "text must be a text" in line and "text must be a text" in str(load)


@pytest.mark.parametrize("command", [["search"], ["explain"]])
def test_a_query_with_an_undecodable_byte(
    command: list[str], core: MLCommonsServer, small_bundle: Bundle, tmp_path: Path
) -> None:
    deploy(small_bundle, client(core), "products")
    index_documents(client(core), "products", [documents(tmp_path)])
    arguments = ["pears\udcff"] if command == ["search"] else ["--document", "0", "pears\udcff"]
    shown = CliRunner().invoke(cli, [*command, "--cluster", core.url, "--index", "products", *arguments])
    assert shown.exit_code == 0, shown.exception
    assert "pears?" in shown.stdout


def test_a_second_deploy_changes_nothing(core: MLCommonsServer, small_bundle: Bundle) -> None:
    deploy(small_bundle, client(core), "products")
    calls = len(core.calls)
    result = deploy(small_bundle, client(core), "products")
    assert {f.action for f in result.plan.findings} == {"keep"}
    assert not [c for c in core.calls[calls:] if c.method in ("PUT", "DELETE") or "_aliases" in c.path]


def test_a_plan_touches_nothing(core: MLCommonsServer, small_bundle: Bundle) -> None:
    result = deploy(small_bundle, client(core), "products", plan_only=True)
    assert [f.action for f in result.plan.findings] == ["create", "create"] and not core.indices


@pytest.mark.parametrize("kind", ["drop", "lose"])
def test_killed_at_any_call(kind: str, small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_store, "CHUNK", 200_000)
    with mlcommons_server(plugins=()) as whole:
        deploy(small_bundle, client(whole), "products")
        wanted, total = whole.state(), len(whole.calls)
    interrupted = 0
    for k in range(1, total + 1):
        with mlcommons_server(plugins=()) as server:
            server.faults = [Fault(kind, calls=range(k, k + 1)), Fault("drop", calls=range(k + 1, 10_000))]
            try:
                deploy(small_bundle, client(server, retries=0), "products")
            except OsparseError:
                interrupted += 1
            server.faults = []
            deploy(small_bundle, client(server), "products")
            assert server.state() == wanted, f"{kind} at call {k}"
    assert interrupted == total, "no answer of a first deploy is dispensable"


def test_parts_are_checked_cached_and_mended(core: MLCommonsServer, small_bundle: Bundle, tmp_path: Path) -> None:
    cluster = client(core)
    deployment = deploy(small_bundle, cluster, "products").deployment
    cached = tmp_path / "cache" / "osparse" / "bundles" / small_bundle.files["tokenizer"].sha256 / "tokenizer.zip"
    query_encoder(cluster, deployment)
    assert cached.read_bytes() == small_bundle.zip_path("tokenizer").read_bytes()
    calls = len(core.calls)
    query_encoder(cluster, deployment)
    assert len(core.calls) - calls == 1, "the list of parts only"
    cached.write_bytes(b"spoiled on this machine")
    query_encoder(cluster, deployment)
    assert cached.stat().st_size == small_bundle.files["tokenizer"].size
    cached.unlink()
    chunk = f"{small_bundle.files['tokenizer'].sha256}-0"
    stored = core.indices[BUNDLES_INDEX].documents
    good = stored[chunk]["data"]
    stored[chunk]["data"] = good[:-8] + "AAAAAAA="
    with pytest.raises(ClusterError, match="damaged"):
        query_encoder(cluster, deployment)
    del stored[chunk]
    assert not status(cluster)[0].ready
    with pytest.raises(ClusterError, match="not whole"):
        query_encoder(cluster, deployment)
    deploy(small_bundle, cluster, "products")
    assert stored[chunk]["data"] == good and status(cluster)[0].ready


def test_large_parts_go_in_chunks(core: MLCommonsServer, small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_store, "CHUNK", 10_000)
    cluster = client(core)
    deployment = deploy(small_bundle, cluster, "products").deployment
    assert len(core.indices[BUNDLES_INDEX].documents) > 10
    assert query_encoder(cluster, deployment).encode("빵") is not None


def test_client_mode_with_neural_search_uses_raw_tokens(small_bundle: Bundle) -> None:
    with mlcommons_server(plugins=("opensearch-neural-search",)) as server:
        result = deploy(small_bundle, client(server), "products")
        assert result.deployment.key_style == "raw" and '"query_tokens"' in result.snippets


def test_the_mode_of_an_existing_index_is_kept(server: MLCommonsServer, small_bundle: Bundle) -> None:
    deploy(small_bundle, client(server), "products", mode="client")
    result = deploy(small_bundle, client(server), "products")
    assert result.plan.mode == "client" and not result.plan.changes
    with pytest.raises(DeploymentConflictError, match="encoded by: client there, the cluster's pipeline required"):
        deploy(small_bundle, client(server), "products", mode="ml-commons")


def test_client_mode_needs_the_onnx_part(core: MLCommonsServer, small_bundle: Bundle, tmp_path: Path) -> None:
    import dataclasses
    import shutil

    from osparse.contracts.bundle import write_manifest

    folder = tmp_path / "bundle"
    shutil.copytree(small_bundle.path, folder)
    (folder / "encoder.onnx.zip").rename(folder / "encoder.torchscript.zip")
    zipped = dataclasses.replace(
        small_bundle.files["onnx"], name="encoder.torchscript.zip", model_format="TORCH_SCRIPT"
    )
    files = {"torchscript": zipped, "tokenizer": small_bundle.files["tokenizer"]}
    write_manifest(
        folder, name="tiny", model="0" * 64, idf_version="0" * 12, head=small_bundle.head, vocabulary=400, files=files
    )
    with pytest.raises(BundleError, match="osparse package MODEL --format onnx"):
        deploy(Bundle.open(folder), client(core), "products")
    assert not core.indices


@pytest.mark.parametrize("name", ["Upper", "_x", "a b", "osparse-bundles", "a..b", "", "-x"])
def test_names_that_cannot_be(core: MLCommonsServer, small_bundle: Bundle, name: str) -> None:
    with pytest.raises(InputError, match="cannot be an index name"):
        deploy(small_bundle, client(core), name)


def test_reading_what_is_not_there(core: MLCommonsServer) -> None:
    cluster = client(core)
    with pytest.raises(ClusterError, match="has no index products"):
        read_deployment(cluster, "products")
    cluster.request("PUT", "/products", body={})
    with pytest.raises(ClusterError, match="was not deployed by osparse"):
        read_deployment(cluster, "products")
    with pytest.raises(ClusterError, match="has no deployment products; it has: none"):
        status(cluster, "products")
    assert status(cluster) == []
    cluster.request("PUT", "/older", body={"mappings": {"_meta": {"osparse": {"schema": 99}}}})
    with pytest.raises(ClusterError, match=r"index older was made by another version of osparse \(schema 99"):
        status(cluster, "older")
