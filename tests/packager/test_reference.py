"""``verify --reference``: a bundle against the library that opens the same folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import saved_worlds as saved
from click.testing import CliRunner

from osparse.cli.main import cli
from osparse.contracts.bundle import Bundle
from osparse.contracts.model import Model
from osparse.errors import CheckError, InputError, MissingExtraError
from osparse.packager import package, verify
from osparse.packager.checkpoint import layouts
from osparse.packager.reference import library


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    saved.bert(folder / "base")
    return lower(saved.routed(folder / "base", folder / "model", max_seq_length=20))


def lower(root: Path) -> Path:
    saved.edit(
        root / "document_0_Transformer" / "sentence_bert_config.json", lambda raw: raw.update(do_lower_case=True)
    )
    return root


@pytest.fixture(scope="module")
def made(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return package(root, tmp_path_factory.mktemp("bundle") / "bundle", ["onnx"])


def test_a_bundle_is_compared_again(root: Path, made: Bundle) -> None:
    found = {check.name.partition(" =")[0]: check for check in verify(made.path, reference=root).checks}
    assert found["onnx"].outcome == "ok" and found["queries"].outcome == "ok"
    assert "largest difference" in found["queries"].detail
    answer = CliRunner().invoke(cli, ["verify", str(made.path), "--reference", str(root)], catch_exceptions=False)
    assert answer.exit_code == 0 and "queries = sentence-transformers" in answer.output


def test_a_bundle_of_another_reading_does_not_hold(root: Path, made: Bundle, tmp_path: Path) -> None:
    cased = saved.routed(root.parent / "base", tmp_path / "cased", max_seq_length=20)
    with pytest.raises(CheckError, match=r"onnx = sentence-transformers.*failed.*differs by"):
        verify(made.path, reference=cased)
    shorter = lower(saved.routed(root.parent / "base", tmp_path / "shorter", max_seq_length=9))
    with pytest.raises(CheckError, match="documents are cut at 20 ids, the library cuts them at 9"):
        verify(made.path, reference=shorter)
    heavier = lower(
        saved.routed(root.parent / "base", tmp_path / "heavier", max_seq_length=20, weights=lambda w: w + 0.01)
    )
    with pytest.raises(CheckError, match=r"queries = sentence-transformers.*failed.*the query .* differs by 0\.01"):
        verify(made.path, reference=heavier)


def test_a_setting_read_wrongly_stops_packaging(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the check is for: osparse's own reading is broken, and parity with it would hold."""
    monkeypatch.setattr(layouts, "_max_active_dims", lambda *_: 2)
    with pytest.raises(CheckError, match="is not what sentence-transformers makes of .* in .* comparisons"):
        package(root, tmp_path / "bundle", ["onnx"])
    assert not (tmp_path / "bundle").exists()


def test_a_length_that_was_given_is_the_callers(root: Path, tmp_path: Path) -> None:
    made = package(root, tmp_path / "bundle", ["onnx"], max_length=10)
    assert made.checks["reference"]["documents_cut_at"] == "given"
    assert verify(made.path, reference=root) and Bundle.open(made.path).head.max_length == 10


def test_without_the_library_nothing_is_claimed(
    root: Path, made: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(library, "LIBRARY", "no_such_library")
    alone = package(root, tmp_path / "bundle", ["onnx"])
    assert alone.checks["reference"] == {"library": {}, "length_given": False}
    assert "was not compared with its library" in caplog.text and alone.fingerprint == made.fingerprint
    with pytest.raises(MissingExtraError, match=r"osparse\[reference\]"):
        verify(made.path, reference=root)


def test_a_model_of_osparse_has_no_reference(made: Bundle, model: Model) -> None:
    with pytest.raises(InputError, match="is a model of osparse"):
        verify(made.path, reference=model.path)
