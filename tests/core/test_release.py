"""The release check sees a wheel that lacks a file or has one too many, and the workflows are whole."""

from __future__ import annotations

import re
import runpy
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import osparse

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[set[str]], None]:
    """Runs .ci/check_release.py on a wheel of these files."""
    script = runpy.run_path(str(ROOT / ".ci" / "check_release.py"))

    def run(files: set[str]) -> None:
        (tmp_path / f"osparse-{osparse.__version__}.tar.gz").write_bytes(b"")
        with zipfile.ZipFile(tmp_path / f"osparse-{osparse.__version__}-py3-none-any.whl", "w") as wheel:
            for name in sorted({*files, f"osparse-{osparse.__version__}.dist-info/METADATA"}):
                wheel.writestr(name, "")
        monkeypatch.setattr(sys, "argv", ["check_release.py", str(tmp_path)])
        script["main"]()

    run.files = script["package_files"]()  # type: ignore[attr-defined]  # what a good wheel has
    return run


def test_a_wheel_is_compared_with_the_tracked_files(check: Any, capsys: pytest.CaptureFixture[str]) -> None:
    files = set(check.files)
    assert {"osparse/__init__.py", "osparse/py.typed", "osparse/corpus/__init__.pyi", "osparse/trainer/run.py"} <= files
    assert any(name.endswith("opensearch_templates/index_rank_features.json") for name in files)
    check(files)
    assert osparse.__version__ in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"lacks \['osparse/trainer/run.py'\]"):
        check(files - {"osparse/trainer/run.py"})
    with pytest.raises(SystemExit, match=r"should not have \['osparse/failed.jsonl'\]"):
        check(files | {"osparse/failed.jsonl"})


def test_another_version_is_refused(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(osparse, "__version__", "9.9.9")
    with pytest.raises(SystemExit, match="must hold"):
        check(set(check.files))


def steps(path: Path) -> list[str]:
    jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
    return [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]


def test_the_workflows_run_what_is_there() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    commands = "\n".join(command for path in WORKFLOWS for command in steps(path))
    used = set(re.findall(r"\bmake ([a-z0-9-]+)", commands))
    assert {"lint", "unit", "e2e", "release", "docs", "setup"} <= used <= targets
    for path in re.findall(r"(?:examples|\.ci)/[\w.-]+", commands):
        assert (ROOT / path).is_file(), path


def test_the_versions_of_python_and_systems() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))["jobs"]
    matrix = jobs["test"]["strategy"]["matrix"]
    assert matrix["python"] == ["3.11", "3.12", "3.13"] and matrix["os"] == ["ubuntu-latest", "macos-latest"]
    assert any("lowest-direct" in step.get("run", "") for step in jobs["lowest"]["steps"])
