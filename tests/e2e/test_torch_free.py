"""The deploy side in an environment without torch (`make setup-base`), as an operator's machine has it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from osparse.bundle import Bundle
from osparse.dataset import Dataset
from osparse.model import Model

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / ".venv-base" / "bin"

pytestmark = pytest.mark.e2e


def run(*arguments: object, expect: int = 0) -> subprocess.CompletedProcess[str]:
    """The torch-free environment's osparse, as a user calls it."""
    command = [str(BIN / "osparse"), *map(str, arguments)]
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", env=clean, timeout=120)
    assert done.returncode == expect, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


def result(*arguments: object) -> Any:
    return json.loads(run(*arguments, "--json").stdout)


def test_the_environment_has_no_torch() -> None:
    assert (BIN / "python").exists(), "the torch-free environment is missing; run: make setup-base"
    code = "import importlib.util as u; print([m for m in ('torch', 'transformers') if u.find_spec(m)])"
    assert subprocess.run([BIN / "python", "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_the_deploy_side_works_without_torch(node: Any, bundle: Bundle, dataset: Dataset, model: Model) -> None:
    target = ("--cluster", node.url, "--index", "torch-free")
    run("verify", bundle.path)
    assert "torch-free" in run("deploy", bundle.path, *target).stdout
    run("index", *target, dataset.path)
    hits = result("search", *target, "tides of the sea", "--top", 3)
    assert hits["hits"]
    report = result("evaluate", "--dataset", dataset.path, *target)
    assert report
    run("status", "--cluster", node.url)
    run("node", "status", "--home", node.home)
    missing = run("evaluate", "--dataset", dataset.path, "--model", model.path, expect=2)
    assert "pip install 'osparse[train]'" in missing.stderr


def test_search_answers_within_a_second(node: Any, bundle: Bundle, dataset: Dataset) -> None:
    target = ("--cluster", node.url, "--index", "torch-free-quick")
    run("deploy", bundle.path, *target)
    run("index", *target, dataset.path)
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        run("search", *target, "phases of the moon")
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 1.0, seconds
