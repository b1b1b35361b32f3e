"""examples/quickstart.sh, with an osparse that only writes down how it was called."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "quickstart.sh"


@pytest.mark.parametrize(
    ("there", "resumes"), [([], False), (["model.run/checkpoint"], True), (["model.run/checkpoint", "model"], False)]
)
def test_an_interrupted_training_goes_on(there: list[str], resumes: bool, tmp_path: Path) -> None:
    (tmp_path / "osparse").write_text('#!/bin/sh\necho "$@" >>"$CALLS"\n', encoding="utf-8")
    (tmp_path / "osparse").chmod(0o755)
    for name in there:
        (tmp_path / "out" / name).mkdir(parents=True)
    names = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "OUT": f"{tmp_path}/out", "CALLS": f"{tmp_path}/calls"}
    subprocess.run(["sh", str(SCRIPT)], env=names, cwd=SCRIPT.parents[1], check=True, capture_output=True)
    (call,) = [c for c in (tmp_path / "calls").read_text(encoding="utf-8").splitlines() if c.startswith("train ")]
    assert ("--resume" in call) is resumes
