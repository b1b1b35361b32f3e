"""A bundle is checked alone: what was tampered with is found even when every hash agrees."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import world

from osparse.cli.main import main
from osparse.contracts.bundle import Bundle
from osparse.contracts.model import Model
from osparse.contracts.zip_members import read_member
from osparse.errors import BundleError, CheckError
from osparse.formula.head import Head
from osparse.packager import package, verify
from osparse.packager.checks import djl
from osparse.packager.export import formats

Rewrite = Callable[..., None]
EVERY = ["torchscript", "onnx", "tokenizer"]

SAGEMAKER = ["model.tar.gz", "role-policy.json", "role-trust.json", "deployer-policy.json", "connector.json"]


@pytest.fixture
def copied(bundle: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle.path, tmp_path / "bundle"))


def test_a_whole_bundle_holds(bundle: Bundle) -> None:
    found = verify(bundle.path)
    assert [check.name for check in found.checks] == [
        "files", "zips", "tokenizer", "truncation", "idf", "torchscript padding", "onnx padding", "onnx = torchscript",
        "torchscript", "onnx", "queries", "index",
    ]  # fmt: skip
    assert {check.outcome for check in found.checks} == {"ok"}
    assert "18 probe texts" in found.table()


def fails(folder: Path, *lines: str) -> None:
    with pytest.raises(CheckError) as caught:
        verify(folder)
    for line in lines:
        assert any(line in shown for shown in str(caught.value).splitlines()), str(caught.value)


def test_the_encoder_of_another_model(copied: Path, rewrite: Rewrite, tmp_path: Path) -> None:
    head = Head(max_length=64, masked_ids=tuple(range(5)), top_k=50)
    other = package(world.make_model(tmp_path / "other", head=head, seed=1), tmp_path / "other-bundle", ["onnx"])
    rewrite(copied, {"model.onnx": read_member(other.zip_path("onnx"), "model.onnx")}, ["onnx"])
    with pytest.raises(
        CheckError, match=r"graphs +onnx = torchscript +failed.*differs by(?s:.*)emulator +onnx +failed.*differs by"
    ):
        verify(copied)


def test_changed_query_weights(copied: Path, rewrite: Rewrite, bundle: Bundle) -> None:
    idf = json.loads(read_member(bundle.zip_path("tokenizer"), "idf.json"))
    idf["the"] += 1
    rewrite(copied, {"idf.json": json.dumps(idf).encode()}, EVERY)
    with pytest.raises(CheckError, match=r"idf +failed +its version"):
        verify(copied)


def test_after_failed_contents_no_graph_is_run(
    copied: Path, rewrite: Rewrite, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = json.loads(read_member(bundle.zip_path("tokenizer"), "tokenizer.json"))
    rewrite(copied, {"tokenizer.json": json.dumps({**raw, "truncation": None}).encode()}, EVERY)

    def never(*arguments: object) -> None:
        raise AssertionError("a graph was opened, or the server's runtime started")

    monkeypatch.setattr(formats, "open_runners", never)
    monkeypatch.setattr(djl, "serve", never)
    with pytest.raises(CheckError) as caught:
        verify(copied, runtime="djl")
    lines = [" ".join(line.split()) for line in str(caught.value).splitlines()]
    assert any(line.startswith("contents truncation failed torchscript: none, not 64 ids") for line in lines)
    for name in ("idf", "graphs", "emulator", "server runtime"):
        assert f"contents {name} not run left out, since the check above failed" in lines


@pytest.mark.parametrize("weight", [1e-9, 65.0])
def test_query_weights_the_server_refuses(copied: Path, rewrite: Rewrite, bundle: Bundle, weight: float) -> None:
    idf = json.loads(read_member(bundle.zip_path("tokenizer"), "idf.json"))
    idf["the"] = weight
    rewrite(copied, {"idf.json": json.dumps(idf).encode()}, EVERY)
    fails(copied, f"'the' weighs {weight}")


def test_query_weights_that_are_none(copied: Path, rewrite: Rewrite, bundle: Bundle) -> None:
    idf = json.loads(read_member(bundle.zip_path("tokenizer"), "idf.json"))
    rewrite(copied, {"idf.json": json.dumps({**idf, "the": 0}).encode()}, EVERY)
    with pytest.raises(BundleError, match=r"tokenizer\.zip: idf\.json: 1 weights"):
        verify(copied)


def test_a_tokenizer_with_a_decoder_or_without_truncation(copied: Path, rewrite: Rewrite, bundle: Bundle) -> None:
    raw = json.loads(read_member(bundle.zip_path("tokenizer"), "tokenizer.json"))
    raw["truncation"] = None
    raw["decoder"] = {"type": "Replace", "pattern": {"String": "##"}, "content": ""}
    rewrite(copied, {"tokenizer.json": json.dumps(raw).encode()}, EVERY)
    fails(copied, "decodes to", "torchscript: none, not 64 ids")


@pytest.mark.parametrize(
    ("members", "keys", "said"),
    [
        ({"evil.jar": b"x"}, ["onnx"], "evil.jar"),
        ({"LICENSE": None}, ["torchscript"], "encoder.torchscript.zip holds ['idf.json', 'model.pt'"),
        ({"idf.json": b'{"a": 1}'}, ["onnx"], "different idf.json"),
    ],
)
def test_zips_that_hold_something_else(
    copied: Path, rewrite: Rewrite, members: dict[str, bytes | None], keys: list[str], said: str
) -> None:
    rewrite(copied, members, keys)
    fails(copied, said)


def test_a_model_no_runtime_loads(copied: Path, rewrite: Rewrite) -> None:
    rewrite(copied, {"model.onnx": b"nothing"}, ["onnx"])
    with pytest.raises(BundleError, match=r"encoder\.onnx\.zip: ONNX Runtime cannot load"):
        verify(copied)
    rewrite(copied, {"model.pt": b"nothing"}, ["torchscript"])
    with pytest.raises(BundleError, match=r"encoder\.torchscript\.zip: torch cannot load"):
        verify(copied)


def test_without_torch_it_says_what_was_not_run(bundle: Bundle) -> None:
    script = (
        "import sys; sys.modules['torch'] = None; sys.modules['transformers'] = None\n"
        "from importlib.machinery import ModuleSpec\n"
        "import importlib.util; find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *a: None if name == 'torch' else find(name, *a)\n"
        f"from osparse.packager import verify\nprint(verify({str(bundle.path)!r}).table())"
    )
    run = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    lines = [" ".join(line.split()) for line in run.stdout.splitlines()]
    assert any(line.startswith("graphs torchscript not run") for line in lines)
    assert any(line.startswith("emulator onnx ok") for line in lines)


def test_the_commands(
    bundle: Bundle, model: Model, tmp_path: Path, copied: Path, rewrite: Rewrite, capsys: pytest.CaptureFixture[str]
) -> None:
    def osparse(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main([*arguments])
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err and isinstance(ended.value.code, int)
        return ended.value.code, printed.out

    code, out = osparse("package", str(model.path), "--output", str(bundle.path), "--for", "sagemaker", "--json")
    assert code == 0 and json.loads(out)["fingerprint"] == bundle.fingerprint
    assert [Path(path).name for path in json.loads(out)["sagemaker"]] == SAGEMAKER
    assert all(Path(path).is_file() for path in json.loads(out)["sagemaker"])
    code, out = osparse("package", str(model.path), "--output", str(bundle.path))
    assert code == 0 and "encoder.onnx.zip" in out and "osparse deploy" in out
    assert osparse("package", str(tmp_path), "--output", str(tmp_path / "x"))[0] == 2
    code, out = osparse("verify", str(bundle.path), "--json")
    assert code == 0 and {check["outcome"] for check in json.loads(out)["checks"]} == {"ok"}
    rewrite(copied, {"evil.jar": b"x"}, ["onnx"])
    assert osparse("verify", str(copied))[0] == 3
    assert osparse("verify", str(model.path))[0] == 2
