"""A model that another tool registered is read back from a cluster, byte by byte, or refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from lookup_bundle import make_lookup_bundle
from mlcommons_caller import ML, Caller, zipped
from mlcommons_server import Fault, MLCommonsServer

from osparse.cli.main import cli
from osparse.contracts.bundle import Bundle
from osparse.contracts.imported import ImportedModel
from osparse.deployer import Cluster, from_cluster
from osparse.errors import AccessError, CheckError, ClusterError, InputError
from osparse.packager import import_model, verify


@pytest.fixture
def encoder(small_bundle: Bundle) -> bytes:
    return small_bundle.zip_path("onnx").read_bytes()


@pytest.fixture
def tokenizer(small_bundle: Bundle) -> bytes:
    return small_bundle.zip_path("tokenizer").read_bytes()


def stored(
    call: Caller, data: bytes, kind: str, size: int = 10_000_000, skip: tuple[int, ...] = (), **more: Any
) -> str:
    """Sent in chunks of ``size`` bytes, as other clients cut them."""
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    model_format = "ONNX" if kind == "SPARSE_ENCODING" else "TORCH_SCRIPT"
    model_id = call.register(data, kind, len(pieces), model_format=model_format, **more)
    for number, piece in enumerate(pieces):
        if number not in skip:
            assert call.chunk(model_id, number, piece).status == 200
    call.state(model_id)
    return model_id


def read(server: MLCommonsServer, model_id: str, output: Path, query_model: str | None = None) -> ImportedModel:
    with Cluster(server.url, retries=0) as cluster:
        return import_model(from_cluster(cluster, model_id, query_model), output).model


def test_chunks_are_joined_in_their_order(
    server: MLCommonsServer, call: Caller, encoder: bytes, tokenizer: bytes, tmp_path: Path
) -> None:
    """More than ten chunks: 10 comes after 9, not after 1."""
    model = stored(call, encoder, "SPARSE_ENCODING", len(encoder) // 12 + 1)
    queries = stored(call, tokenizer, "SPARSE_TOKENIZE", name="g-queries")
    imported = read(server, model, tmp_path / "model", queries)
    assert imported.zip_path("encoder").read_bytes() == encoder
    assert imported.zip_path("tokenizer").read_bytes() == tokenizer
    assert imported.encoder is not None and imported.encoder.origin["model_id"] == model
    assert {check.outcome for check in verify(tmp_path / "model").checks} == {"ok"}


def test_a_model_that_the_server_downloaded(
    server: MLCommonsServer, call: Caller, tokenizer: bytes, tmp_path: Path
) -> None:
    model = stored(call, tokenizer, "SPARSE_TOKENIZE")
    server.downloaded.add(model)
    answer = call("GET", f"{ML}/models/{model}_0", params={"return_content": "true"}).body
    assert answer["name"] == "g-test" and "model_group_id" not in answer
    assert read(server, model, tmp_path / "model").zip_path("tokenizer").read_bytes() == tokenizer


def test_the_chunks_answer_as_on_the_real_server(call: Caller, tokenizer: bytes) -> None:
    model = stored(call, tokenizer, "SPARSE_TOKENIZE")
    plain = call("GET", f"{ML}/models/{model}_0").body
    assert list(plain) == [
        "model_group_id", "algorithm", "model_version", "model_format", "model_id", "chunk_number", "total_chunks",
        "is_hidden",
    ]  # fmt: skip
    assert (plain["model_id"], plain["chunk_number"]) == (model, 0)
    for unknown in (f"{model}_1", f"{model}_00", "nosuch", "a b"):
        answer = call("GET", f"{ML}/models/{unknown.replace(' ', '%20')}", params={"return_content": "true"})
        assert answer.reason == f"Failed to find model with the provided model id: {unknown}"
    wrong = call("GET", f"{ML}/models/{model}", params={"return_content": "wrong"})
    assert (wrong.status, wrong.reason) == (400, "Failed to parse value [wrong] as only [true] or [false] are allowed.")


def index_with(call: Caller, name: str, encoder_id: str, tokenizer_id: str) -> None:
    call(
        "PUT",
        f"/_ingest/pipeline/{name}-in",
        {"processors": [{"sparse_encoding": {"model_id": encoder_id, "field_map": {"t": "e"}}}]},
    )
    call(
        "PUT",
        f"/_search/pipeline/{name}-se",
        {"request_processors": [{"neural_query_enricher": {"default_model_id": tokenizer_id}}]},
    )
    settings = {"index.default_pipeline": f"{name}-in", "index.search.default_pipeline": f"{name}-se"}
    mappings = {"properties": {"t": {"type": "text"}, "e": {"type": "rank_features"}}}
    assert call("PUT", f"/{name}", {"settings": settings, "mappings": mappings}).status == 200


def test_the_query_model_is_the_one_of_the_same_index(
    server: MLCommonsServer, call: Caller, encoder: bytes, tokenizer: bytes, tmp_path: Path
) -> None:
    model = stored(call, encoder, "SPARSE_ENCODING")
    other = stored(call, tokenizer, "SPARSE_TOKENIZE", name="g-other")
    queries = stored(call, tokenizer, "SPARSE_TOKENIZE", name="g-queries")
    imported = read(server, model, tmp_path / "without")
    assert imported.tokenizer is None and "no query model" in imported.notes[0]
    index_with(call, "shop", model, queries)
    index_with(call, "elsewhere", "another-model", other)
    imported = read(server, model, tmp_path / "model")
    assert imported.tokenizer is not None and imported.tokenizer.origin["model_id"] == queries and not imported.notes
    index_with(call, "second", model, other)
    with pytest.raises(InputError, match=rf"{other}.*{queries}.*choose one with `query_model`"):
        read(server, model, tmp_path / "two")
    assert read(server, model, tmp_path / "two", other).tokenizer is not None


def test_pipelines_that_may_not_be_read_are_a_note(
    server: MLCommonsServer, call: Caller, encoder: bytes, tmp_path: Path
) -> None:
    model = stored(call, encoder, "SPARSE_ENCODING")
    server.forbidden = r"GET /_ingest/pipeline"
    assert "no query model was looked for" in read(server, model, tmp_path / "model").notes[0]


def remote(call: Caller) -> str:
    body = {"name": "g-remote", "function_name": "remote", "connector_id": "con-1", "description": "d"}
    call.server.connectors["con-1"] = {"name": "another program's"}
    return str(call("POST", f"{ML}/models/_register", body).body["model_id"])


def dense(call: Caller) -> str:
    data = zipped({"x": b"x"})
    return call.register(data, "TEXT_EMBEDDING", model_config={"model_type": "bert"})


def test_what_cannot_be_imported_is_named(
    server: MLCommonsServer, call: Caller, encoder: bytes, tokenizer: bytes, tmp_path: Path
) -> None:
    model, queries = stored(call, encoder, "SPARSE_ENCODING"), stored(call, tokenizer, "SPARSE_TOKENIZE", name="g-q")
    third = len(encoder) // 3 + 1
    lacking_last = stored(call, encoder, "SPARSE_ENCODING", third, (2,), name="g-last")
    lacking_middle = stored(call, encoder, "SPARSE_ENCODING", third, (1,), name="g-middle")
    other = stored(call, encoder, "SPARSE_ENCODING", name="g-hash", model_content_hash_value="0" * 64)
    sized = stored(call, encoder, "SPARSE_ENCODING", name="g-size", model_content_size_in_bytes=7)
    cases: list[tuple[type[Exception], str, str | None, str]] = [
        (InputError, "nosuch", None, rf"has no model 'nosuch'; its sparse models are .*{model} \(g-test\)"),
        (InputError, "a/b?c", None, r"has no model 'a/b\?c'"),
        (InputError, remote(call), None, r"is remote: .*\(con-1\)"),
        (InputError, dense(call), None, "is a TEXT_EMBEDDING model"),
        (CheckError, lacking_last, None, r"REGISTERING\) lacks 1 of its 3 chunks \(number 2\)"),
        (CheckError, lacking_middle, None, r"REGISTERED\) lacks 1 of its 3 chunks \(number 1\)"),
        (CheckError, other, None, r"it was registered with 000000000000\.\."),
        (CheckError, sized, None, "it was registered with 7"),
        (InputError, model, model, "required is a SPARSE_TOKENIZE model"),
        (InputError, queries, queries, "leave out `query_model`"),
        (InputError, model, "nosuch", "has no model 'nosuch'"),
    ]
    for error, model_id, query_model, words in cases:
        with pytest.raises(error, match=words):
            read(server, model_id, tmp_path / "model", query_model)
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_names_the_permission(server: MLCommonsServer, call: Caller, encoder: bytes, tmp_path: Path) -> None:
    model = stored(call, encoder, "SPARSE_ENCODING")
    for forbidden in (r"GET /_plugins/_ml/models/[^_]+_", r"POST /_plugins/_ml/models/_search", r"/_plugins/_ml"):
        server.forbidden = forbidden
        with pytest.raises(AccessError, match=r"cluster:admin/opensearch/ml/models/get.*ml_read_access"):
            read(server, model, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["drop", "garbage", "html"])
def test_a_read_that_breaks_off_leaves_nothing(
    kind: str, server: MLCommonsServer, call: Caller, encoder: bytes, tmp_path: Path
) -> None:
    model = stored(call, encoder, "SPARSE_ENCODING", len(encoder) // 4 + 1)
    server.faults = [Fault(kind, matching=rf"GET .*{model}_2", times=9)]
    with pytest.raises(ClusterError):
        read(server, model, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_content_that_is_not_base64(
    server: MLCommonsServer, call: Caller, encoder: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = stored(call, encoder, "SPARSE_ENCODING")
    chunk = server._chunk
    monkeypatch.setattr(server, "_chunk", lambda *a, **k: {**chunk(*a, **k), "model_content": "%%%"})
    with pytest.raises(ClusterError, match="is not base64"):
        read(server, model, tmp_path / "model")


def test_the_command_takes_an_id_at_a_cluster(
    server: MLCommonsServer, call: Caller, encoder: bytes, tmp_path: Path
) -> None:
    model, output = stored(call, encoder, "SPARSE_ENCODING"), str(tmp_path / "model")
    answer = CliRunner().invoke(cli, ["import", f"{model}@{server.url}", "--output", output, "--json"])
    said = json.loads(answer.stdout)
    assert answer.exit_code == 0 and said["parts"]["encoder"]["origin"]["model_id"] == model
    assert "--query-model" not in said["notes"][0], "JSON names parameters"
    again = CliRunner().invoke(cli, ["import", model, "--cluster", server.url, "--output", output])
    assert isinstance(again.exception, InputError) and "--overwrite" in str(again.exception)
    twice = ["import", f"{model}@{server.url}", "--cluster", server.url, "--output", output]
    assert "leave one out" in CliRunner().invoke(cli, twice).output
    shown = CliRunner().invoke(cli, ["import", model, "--cluster", server.url, "--output", output, "--overwrite"])
    assert "note: no query model" in shown.output and "--query-model names it" in shown.output


def test_two_of_a_kind_are_compared(tmp_path: Path) -> None:
    """Encoder and query model of different tokenizers do not belong together."""
    first = make_lookup_bundle(_made(tmp_path / "a"))
    raw = json.loads((first.path / "manifest.json").read_text())
    assert raw["vocabulary"] > 100
    vocabulary = {f"w{i}": i for i in range(9)}
    from tokenizers import Tokenizer, models

    other = Tokenizer(models.WordLevel({"[UNK]": 9, **vocabulary}, unk_token="[UNK]"))
    (tmp_path / "queries.zip").write_bytes(zipped({"tokenizer.json": other.to_str().encode()}))
    from osparse.packager import from_files

    import_model(from_files(first.zip_path("onnx"), tmp_path / "queries.zip"), tmp_path / "model")
    with pytest.raises(CheckError, match="vocabulary +failed.*do not belong together"):
        verify(tmp_path / "model")


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
