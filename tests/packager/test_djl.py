"""Server runtime: bundles of three tokenizer families in the server's own runtime, fetched from Maven Central once."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import families
import onnx
import pytest
import world

from osparse.contracts.bundle import Bundle
from osparse.contracts.zip_members import read_member
from osparse.errors import CheckError
from osparse.packager import package, verify

pytestmark = [pytest.mark.e2e, pytest.mark.network]


@pytest.mark.parametrize(
    ("make", "lexical"), [(families.wordpiece, True), (families.byte_level, False), (families.metaspace, False)]
)
def test_every_group_of_checks_holds(make: Callable[[Path], Path], lexical: bool, tmp_path: Path) -> None:
    model = world.make_model(tmp_path / "model", tokenizer=make(tmp_path / "tokenizer.json"), lexical=lexical)
    made = package(model, tmp_path / "bundle")
    found = verify(made.path, runtime="djl", model=model)
    checks = {(check.group, check.name): check for check in found.checks}
    assert {check.outcome for check in found.checks} == {"ok"}
    assert {("graphs", f"{form} = model") for form in ("torchscript", "onnx")} <= checks.keys()
    rows = {("server runtime", f"{form} rows") for form in ("torchscript", "onnx")}
    assert {
        ("server runtime", "torchscript"),
        ("server runtime", "onnx"),
        ("server runtime", "queries"),
        *rows,
    } <= checks.keys()
    assert (
        "libtorch 2.5.1" in checks["server runtime", "torchscript"].detail
        and "1.16.3" in checks["server runtime", "onnx"].detail
    )
    assert "1 to 512 ids" in checks["server runtime", "onnx rows"].detail


def changed_model(bundle: Bundle, change: Callable[[onnx.ModelProto], None]) -> bytes:
    model = onnx.load_from_string(read_member(bundle.zip_path("onnx"), "model.onnx"))
    change(model)
    return bytes(model.SerializeToString())


def test_what_this_machine_runs_and_the_server_does_not(
    bundle: Bundle, tmp_path: Path, rewrite: Callable[..., None]
) -> None:
    """IR 10: every other check holds, and on a cluster it would only show in the deploy task."""
    folder = Path(shutil.copytree(bundle.path, tmp_path / "bundle"))
    newer = changed_model(bundle, lambda model: setattr(model, "ir_version", 10))
    rewrite(folder, {"model.onnx": newer}, ["onnx"])
    verify(folder)
    with pytest.raises(
        CheckError, match=r"encoder\.onnx\.zip: DJL 0\.31\.1 with ONNX Runtime 1\.16\.3 does not run it"
    ):
        verify(folder, runtime="djl")


def test_the_command(bundle: Bundle) -> None:
    command = [sys.executable, "-m", "osparse", "verify", str(bundle.path), "--runtime", "djl", "--json"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    checks = json.loads(run.stdout)["checks"]
    assert [check["group"] for check in checks].count("server runtime") == 5 and {
        check["outcome"] for check in checks
    } == {"ok"}
