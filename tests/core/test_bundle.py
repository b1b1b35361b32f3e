"""A bundle that is opened is whole, and no zip in it can write anywhere or fill the disk."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from osparse.contracts import zip_members
from osparse.contracts.bundle import Bundle, check_name
from osparse.contracts.zip_members import open_zip, read_member
from osparse.errors import BundleError


@pytest.fixture
def copied(bundle: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle.path, tmp_path / "bundle"))


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "manifest.json"
    raw = json.loads(path.read_text())
    change(raw)
    path.write_text(json.dumps(raw))


def test_a_copy_opens_as_the_same_bundle(bundle: Bundle, copied: Path) -> None:
    opened = Bundle.open(copied)
    assert opened.fingerprint == bundle.fingerprint and opened.short == bundle.fingerprint[:12]
    assert opened.formats == ["torchscript", "onnx"] and opened.head == bundle.head
    assert opened.zip_path("onnx") == copied / "encoder.onnx.zip"


def test_every_damaged_file_is_named(copied: Path) -> None:
    (copied / "tokenizer.zip").write_bytes(b"cut")
    (copied / "probes.jsonl").unlink()
    with pytest.raises(BundleError) as caught:
        Bundle.open(copied)
    assert "tokenizer.zip: sha256" in str(caught.value) and "probes.jsonl is missing" in str(caught.value)
    assert "encoder" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda raw: raw.update(schema=2), "schema 1"),
        (lambda raw: raw.pop("head"), "head"),
        (lambda raw: raw.update(files=[]), "not a bundle manifest"),
        (lambda raw: raw["files"]["onnx"].update(colour="red"), "colour"),
        (lambda raw: raw["files"]["onnx"].update(name="../encoder.onnx.zip"), "not a plain file name"),
        (lambda raw: raw.update(fingerprint="0" * 64), "fingerprint"),
        (lambda raw: raw.update(name="../../etc/x"), r"'../../etc/x' becomes a file name on the server"),
        (lambda raw: raw.update(name=["a"]), "not a bundle manifest"),
        (lambda raw: raw["files"]["onnx"].update(name=7), "not a bundle manifest"),
        (lambda raw: raw["files"]["onnx"].update(sha256=None), "files.onnx.sha256: must be str"),
        (lambda raw: raw.update(probes_sha256=7), "probes_sha256: must be str"),
        (lambda raw: raw["head"].update(max_length="256"), "head.max_length: must be int, got '256'"),
        (lambda raw: raw["head"].update(masked_ids=[1, "2"]), r"head.masked_ids.1: must be int, got '2'"),
        (lambda raw: raw.update(tolerance="x"), "tolerance: must be float, got 'x'"),
        (lambda raw: raw.update(tolerance=float("nan")), "tolerance: nan is not within"),
        (lambda raw: raw.update(vocabulary=None), "vocabulary: must be int, got None"),
        (lambda raw: raw.update(vocabulary=0), "vocabulary must be at least 1, got 0"),
        (lambda raw: raw.update(vocabulary=True), "vocabulary: must be int, got True"),
        (
            lambda raw: raw["files"]["onnx"].update(function_name="EVIL"),
            "files.onnx.function_name: must be one of .* got 'EVIL'",
        ),
        (lambda raw: raw.update(targets="3.3"), "targets: must be a list, got '3.3'"),
        (lambda raw: raw.update(targets=[3.3]), r"targets.0: must be str, got 3.3"),
        (lambda raw: raw.update(checks=[]), "checks: must be a mapping"),
        (lambda raw: raw["files"]["onnx"].update(size=7), r"encoder.onnx.zip has [\d,]+ bytes, the manifest says 7"),
        (lambda raw: raw["files"]["onnx"].update(size="7"), "files.onnx.size: must be int"),
        (lambda raw: raw.update(path="/elsewhere", colour=1), "colour: unknown"),
    ],
)
def test_a_wrong_manifest_is_refused(copied: Path, change: Callable[[dict[str, Any]], object], said: str) -> None:
    edit(copied, change)
    with pytest.raises(BundleError, match=said):
        Bundle.open(copied)


def test_another_kind_of_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"no manifest.json.*osparse package"):
        Bundle.open(tmp_path)
    (tmp_path / "manifest.json").write_text('{"schema": 1, "sources": []}')
    with pytest.raises(BundleError, match="not a bundle manifest"):
        Bundle.open(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(BundleError, match="not JSON"):
        Bundle.open(tmp_path)


def test_a_part_that_is_not_there_is_named(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="no tensorflow part, only torchscript, onnx, tokenizer"):
        bundle.zip_path("tensorflow")


@pytest.mark.parametrize("name", ["a", "korean-v1.2", "0_x", "a" * 80])
def test_good_names(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "A", "a/b", "..", "a..b", "-a", ".a", "배", "a b", "a" * 81, "a\n"])
def test_names_the_server_would_make_bad_files_of(name: str) -> None:
    with pytest.raises(BundleError, match="--name"):
        check_name(name)


def make_zip(path: Path, *infos: zipfile.ZipInfo | str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for info in infos:
            archive.writestr(info, b"content")
    return path


@pytest.mark.parametrize("name", ["../up", "/etc/passwd", "a/b", "..", "a\\b", "C:x", "folder/"])
def test_paths_in_a_zip_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BundleError, match="only plain files at the root"):
        open_zip(make_zip(tmp_path / "z.zip", "fine", name))


def test_links_and_doubles_in_a_zip_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    with pytest.raises(BundleError, match="'link'"):
        open_zip(make_zip(tmp_path / "z.zip", link))
    with pytest.warns(UserWarning, match="Duplicate"):
        make_zip(tmp_path / "z.zip", "twice", "twice")
    with pytest.raises(BundleError, match="'twice'"):
        open_zip(tmp_path / "z.zip")


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_members, "MAX_UNPACKED", 1_000_000)
    with zipfile.ZipFile(tmp_path / "z.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("a", "b"):
            archive.writestr(name, bytes(600_000))
    assert (tmp_path / "z.zip").stat().st_size < 10_000
    with pytest.raises(BundleError, match="unpack to 1,200,000 bytes, more than 1,000,000 or 100 times"):
        open_zip(tmp_path / "z.zip")
    monkeypatch.undo()
    with pytest.raises(BundleError, match="100 times its own size"):
        open_zip(tmp_path / "z.zip")


def test_a_link_in_a_bundle_is_refused(copied: Path, tmp_path: Path) -> None:
    (copied / "tokenizer.zip").rename(tmp_path / "elsewhere.zip")
    (copied / "tokenizer.zip").symlink_to(tmp_path / "elsewhere.zip")
    with pytest.raises(BundleError, match=r"tokenizer\.zip is a symbolic link"):
        Bundle.open(copied)


def test_a_bundle_of_before_is_still_read(bundle: Bundle, copied: Path) -> None:
    """Deployments keep bundles: what later versions added to the manifest has defaults."""
    later = ("quantization", "tolerance", "source", "fit")
    edit(copied, lambda raw: [raw.pop(key) for key in later])
    opened = Bundle.open(copied)
    assert opened.fingerprint == bundle.fingerprint and opened.tolerance == 1e-4


def test_broken_zips_are_said_to_be(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "z.zip", "name")
    assert read_member(path, "name") == b"content"
    with pytest.raises(BundleError, match="has no other"):
        read_member(path, "other")
    data = path.read_bytes()
    path.write_bytes(data.replace(b"content", b"c0ntent", 1))
    with pytest.raises(BundleError, match="corrupt"):
        read_member(path, "name")
    path.write_bytes(data[:-30])
    with pytest.raises(BundleError, match="not a readable zip"):
        read_member(path, "name")
    encrypted = bytearray(data)
    encrypted[encrypted.index(b"PK\x01\x02") + 8] |= 1
    encrypted[6] |= 1
    path.write_bytes(bytes(encrypted))
    with pytest.raises(BundleError, match="corrupt"):
        read_member(path, "name")
    with pytest.raises(BundleError, match="not a readable zip"):
        read_member(tmp_path / "none.zip", "name")


@pytest.mark.parametrize("row", [{"text": "x"}, {"text": 1, "lang": "en", "document": {}, "query": {}}])
def test_a_line_that_is_no_probe_is_named(bundle: Bundle, copied: Path, row: dict[str, Any]) -> None:
    probes = copied / "probes.jsonl"
    probes.write_text(json.dumps(row) + "\n")
    opened = replace(bundle, path=copied)
    with pytest.raises(BundleError, match=r"probes.jsonl:1 is not a probe: .*; run: osparse package"):
        opened.probes()
