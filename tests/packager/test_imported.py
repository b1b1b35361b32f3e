"""Zips of another tool: what they are, and whether they give what their checkpoint's own library gives."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import foreign_zips
import pytest
import saved_worlds as saved
import torch
from click.testing import CliRunner
from lookup_bundle import make_lookup_bundle

from osparse.cli.main import cli
from osparse.errors import CheckError, InputError, OsparseError
from osparse.packager import from_files, import_model, verify


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved.plain(saved.bert(tmp_path_factory.mktemp("saved") / "splade"))


@pytest.fixture(scope="module")
def exported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return foreign_zips.export(checkpoint, tmp_path_factory.mktemp("exported") / "files")


@pytest.fixture
def zips(exported: Path, checkpoint: Path, tmp_path: Path) -> Path:
    """An encoder and a tokenizer that no JSON file describes."""
    folder = tmp_path / "zips"
    folder.mkdir()
    (folder / "any-name.zip").write_bytes((exported / "splade.zip").read_bytes())
    (folder / "queries.zip").write_bytes(foreign_zips.tokenizer_zip(checkpoint))
    return folder


def outcomes(folder: Path, **options: Any) -> dict[str, str]:
    return {check.name.partition(" = sentence")[0]: check.outcome for check in verify(folder, **options).checks}


def test_an_export_of_opensearch_py_ml_is_recognised(exported: Path, checkpoint: Path, tmp_path: Path) -> None:
    done = import_model(from_files(exported), tmp_path / "model")
    said = done.description["encoder"]
    assert said["layout"] == "opensearch-py-ml" and said["function_name"] == "SPARSE_ENCODING"
    tokens = len(json.loads((checkpoint / "tokenizer.json").read_text())["model"]["vocab"])
    assert said["output_shape"] == [1, tokens] and said["vocabulary"] == tokens and said["output"] == "output"
    assert said["layers"] == 1 and said["tokenizer"] == "WordPiece" and said["max_length"] == 64
    assert said["config"]["file"] == "ml-commons_model_config.json" and "cannot_verify" not in said
    assert (tmp_path / "model" / "encoder.zip").read_bytes() == (exported / "splade.zip").read_bytes()
    assert outcomes(tmp_path / "model") == {
        name: "ok" for name in ("files", "encoder tokenizer", "encoder", "sparseness", "documents")
    }


def test_what_serves_is_compared_with_its_library(zips: Path, checkpoint: Path, tmp_path: Path) -> None:
    import_model(from_files(zips), tmp_path / "model")
    shown = outcomes(tmp_path / "model", reference=checkpoint, model=checkpoint)
    assert {"encoder", "queries", "queries = model", "encoder = model", "idf"} <= shown.keys()
    assert set(shown.values()) == {"ok"}


def test_another_activation_is_found(checkpoint: Path, tmp_path: Path) -> None:
    """A plain folder does not say it; the served weights do."""
    export = foreign_zips.export(checkpoint, tmp_path / "files", damped=True)
    import_model(from_files(export), tmp_path / "model")
    details = {check.name: check.detail for check in verify(tmp_path / "model", reference=checkpoint).checks}
    assert any("its activation is log1p_log1p_relu" in detail for detail in details.values())
    with pytest.raises(CheckError, match=r"encoder = model +failed.*differs by"):
        verify(tmp_path / "model", model=checkpoint)  # which is read as log1p_relu


def test_another_checkpoint_does_not_hold(exported: Path, tmp_path: Path) -> None:
    import_model(from_files(exported), tmp_path / "model")
    lower = saved.plain(saved.bert(tmp_path / "lower", lower=True))
    with pytest.raises(CheckError, match=r"encoder = sentence-transformers \S+ +failed"):
        verify(tmp_path / "model", reference=lower)
    with pytest.raises(CheckError, match="has other ids|differs by"):
        verify(tmp_path / "model", model=lower)


def test_changed_query_weights_are_found(zips: Path, checkpoint: Path, tmp_path: Path) -> None:
    weights = json.loads((checkpoint / "idf.json").read_text())
    (zips / "queries.zip").write_bytes(foreign_zips.tokenizer_zip(checkpoint, {**weights, "the": weights["the"] + 1}))
    import_model(from_files(zips), tmp_path / "model")
    with pytest.raises(CheckError, match=r"queries = model +failed.*differs by 1"):
        verify(tmp_path / "model", model=checkpoint)


@pytest.mark.parametrize(
    ("weights", "words"),
    [({"the": 65.0}, "'the' weighs 65.0"), ({"the": 0.0}, "'the' weighs 0.0"), ({"Ġthe": 2.0}, "none of its keys is a token")],
)  # fmt: skip
def test_query_weights_that_no_query_may_have(
    weights: dict[str, float], words: str, zips: Path, checkpoint: Path, tmp_path: Path
) -> None:
    (zips / "queries.zip").write_bytes(foreign_zips.tokenizer_zip(checkpoint, weights))
    import_model(from_files(zips), tmp_path / "model")
    with pytest.raises(CheckError, match=rf"idf +failed +{words}"):
        verify(tmp_path / "model")


def test_a_tokenizer_that_loses_tokens_on_the_server(tmp_path: Path) -> None:
    """Byte-level tokens decode to other strings than they are: what opensearch-py-ml does not see."""
    base = saved.plain(saved.roberta(tmp_path / "base"))
    export = foreign_zips.export(base, tmp_path / "files")
    done = import_model(from_files(export), tmp_path / "model")
    assert done.description["encoder"]["tokenizer"] == "BPE"
    with pytest.raises(CheckError, match=r"encoder tokenizer +failed.*decodes to"):
        verify(tmp_path / "model")


def rezipped(path: Path, change: dict[str, bytes | None]) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members |= {name: data for name, data in change.items() if data is not None}
    path.write_bytes(foreign_zips.zipped({n: d for n, d in members.items() if change.get(n, b"") is not None}))


def dense(rows: int) -> bytes:
    """A TorchScript that answers negative numbers."""

    class Dense(torch.nn.Module):
        def forward(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            return {"sentence_embedding": -features["input_ids"].float().amax(1, keepdim=True).expand(-1, rows)}

    ids = torch.tensor([[2, 7, 3]])
    return foreign_zips.traced(Dense(), {"input_ids": ids, "attention_mask": ids})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"splade.pt": b"no model"}, "torch cannot load the model"),
        ({"tokenizer.json": None}, "has no tokenizer.json at its root"),
        ({"tokenizer.json": b"{}"}, "tokenizer.json is not a tokenizer.json"),
        ({"other.pt": b"x"}, "requires exactly one"),
        ({"splade.pt": "eight"}, "required is one weight for each of"),
    ],
)
def test_what_cannot_be_verified_says_why(change: dict[str, Any], words: str, zips: Path, tmp_path: Path) -> None:
    rezipped(zips / "any-name.zip", {n: dense(8) if d == "eight" else d for n, d in change.items()})
    done = import_model(from_files(zips), tmp_path / "model")
    assert words in done.description["encoder"]["cannot_verify"]
    assert "no: " in done.table()
    with pytest.raises(CheckError):
        verify(tmp_path / "model")


def test_negative_weights_are_no_sparse_vector(zips: Path, checkpoint: Path, tmp_path: Path) -> None:
    tokens = len(json.loads((checkpoint / "tokenizer.json").read_text())["model"]["vocab"])
    rezipped(zips / "any-name.zip", {"splade.pt": dense(tokens)})
    import_model(from_files(zips), tmp_path / "model")
    with pytest.raises(CheckError, match=r"encoder +failed.*negative weights"):
        verify(tmp_path / "model")


def test_a_zip_that_was_changed_after_the_import(zips: Path, tmp_path: Path) -> None:
    import_model(from_files(zips), tmp_path / "model")
    with (tmp_path / "model" / "encoder.zip").open("r+b") as file:
        file.seek(100)
        file.write(b"\0\1\2")
    with pytest.raises(InputError, match=r"encoder.zip: sha256 .* does not match import.json's"):
        verify(tmp_path / "model")


def test_the_description_beside_a_zip_must_be_its_own(exported: Path, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    for path in exported.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    rezipped(folder / "splade.zip", {"LICENSE": b"changed"})
    for given in (folder, folder / "splade.zip"):
        with pytest.raises(CheckError, match=r"ml-commons_model_config.json describes a zip .*export it again"):
            import_model(from_files(given), tmp_path / "model")
    saved.edit(folder / "ml-commons_model_config.json", lambda raw: raw.update(function_name="TEXT_EMBEDDING"))
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("wrong", ["absent", "empty", "two", "bundle", "no-zip", "dense", "query"])
def test_wrong_input_leaves_nothing(wrong: str, zips: Path, exported: Path, tmp_path: Path) -> None:
    given, query, words = zips, None, ""
    if wrong == "absent":
        given, words = tmp_path / "absent", "does not exist"
    if wrong == "empty":
        given, words = tmp_path / "empty", "holds no zip"
        given.mkdir()
    if wrong == "two":
        (zips / "b.zip").write_bytes((exported / "splade.zip").read_bytes() + b" ")
        words = "import one encoder at a time"
    if wrong == "bundle":
        given, words = tmp_path / "bundle", "is a bundle of osparse"
        given.mkdir()
        make_lookup_bundle(given)
    if wrong == "no-zip":
        (zips / "any-name.zip").write_bytes(b"text")
        words = "is not a zip"
    if wrong == "dense":
        given, words = tmp_path / "dense", "is a TEXT_EMBEDDING model"
        given.mkdir()
        for path in exported.iterdir():
            (given / path.name).write_bytes(path.read_bytes())
        saved.edit(given / "ml-commons_model_config.json", lambda raw: raw.update(function_name="TEXT_EMBEDDING"))
    if wrong == "query":
        given, query, words = zips / "queries.zip", exported / "splade.zip", "holds a model file"
    with pytest.raises(OsparseError, match=words):
        import_model(from_files(given, query), tmp_path / "model")
    assert not [path for path in tmp_path.iterdir() if "model" in path.name]


def test_an_output_that_exists_stays(zips: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(InputError):
            import_model(from_files(zips), tmp_path / "model", overwrite=overwrite)
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["mine.txt"]


def test_the_command(zips: Path, checkpoint: Path, tmp_path: Path) -> None:
    runner, output = CliRunner(), str(tmp_path / "model")
    arguments = ["import", str(zips / "any-name.zip"), "--query-model", str(zips / "queries.zip"), "--output", output]
    answer = runner.invoke(cli, arguments, catch_exceptions=False)
    assert answer.exit_code == 0 and "opensearch-py-ml" in answer.output and "can be verified" in answer.output
    answer = runner.invoke(cli, ["verify", output, "--model", str(checkpoint), "--json"], catch_exceptions=False)
    assert json.loads(answer.stdout)["imported"] == output
    for wrong in (["--runtime", "djl"], ["--dataset", str(zips)]):
        answer = runner.invoke(cli, ["verify", output, *wrong])
        assert isinstance(answer.exception, InputError) and wrong[0] in str(answer.exception)
