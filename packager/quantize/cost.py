"""What an encoder takes to run: processor time and memory for one text, measured in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from osparse.errors import NodeError

CHILD = Path(__file__).with_name("cost_child.py")
ROUNDS = 8


@dataclass(frozen=True)
class Cost:
    """Of one text on one thread."""

    cpu_seconds: float
    memory_bytes: int | None
    """To load the model and run the text; None where the system does not say it."""


def measure_cost(model: Path, ids: Sequence[int]) -> Cost:
    """Run a model.onnx on one text; raises :class:`NodeError` if its process fails."""
    command = [sys.executable, "-P", str(CHILD), str(model), json.dumps(list(ids)), str(ROUNDS)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, errors="replace")
    if run.returncode:
        last = (run.stderr.strip().splitlines() or ["no output"])[-1]
        raise NodeError(f"the process that measures {model.name} ended with {run.returncode}: {last}")
    return Cost(**json.loads(run.stdout))
