"""The deploy side in an environment without torch (`make setup-base`), as an operator's machine has it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from osparse.contracts.bundle import Bundle
from osparse.contracts.dataset import Dataset
from osparse.contracts.model import Model

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / ".venv-base" / "bin"

pytestmark = [pytest.mark.e2e, pytest.mark.network]


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


def test_search_loads_nothing_that_it_does_not_need(node: Any, bundle: Bundle, dataset: Dataset) -> None:
    """What makes a command slow to start is what it imports."""
    target = ("--cluster", node.url, "--index", "torch-free-quick")
    run("deploy", bundle.path, *target)
    run("index", *target, dataset.path)
    heavy = ("torch", "transformers", "polars", "pyarrow", "pandas", "scipy", "ir_measures", "onnxruntime")
    code = (
        "import sys; from osparse.cli.main import main\n"
        f"try: main({['search', *target, 'phases of the moon']!r})\n"
        f"finally: print('LOADED', [m for m in {heavy!r} if m in sys.modules])"
    )
    done = subprocess.run([BIN / "python", "-c", code], capture_output=True, text=True, cwd="/", timeout=120)
    assert done.stdout.endswith("LOADED []\n"), f"{done.stdout}{done.stderr}"
