"""What a benchmark's parent and its children share: one line of JSON each way, memory as the kernel counts it.

A child loads its model, answers ``{}`` when it is ready, then does its work once for each line that it reads and
answers the figures. Imports nothing that a peer's environment may lack.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

KIB = 1024


def resident() -> tuple[int, int]:
    """(resident bytes now, the most since :func:`forget_peak`) of this process."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    now, peak = (int(lines[name].split()[0]) * KIB for name in ("VmRSS", "VmHWM"))
    return now, peak


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def allocated() -> tuple[int, int]:
    """As :func:`resident`, of torch's tensors on the GPU."""
    import torch

    torch.cuda.synchronize()
    return torch.cuda.memory_allocated(), torch.cuda.max_memory_allocated()


def forget_allocated() -> None:
    import torch

    torch.cuda.reset_peak_memory_stats()


def serve(work: Callable[[], Any], output: Path | None = None, device: str = "cpu") -> None:
    """In the child: time ``work`` for each line of stdin; what it last returned goes to ``output`` as JSON.

    A dict that it returns holds figures, in place of those taken here. ``device``: whose memory is meant.
    """
    answers = sys.stdout
    sys.stdout = sys.stderr  # peers print
    memory = resident if device == "cpu" else allocated
    forget_peak() if device == "cpu" else forget_allocated()
    loaded, _ = memory()
    answers.write("{}\n")
    answers.flush()
    result: Any = None
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        result = work()
        figures = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        figures |= result if isinstance(result, dict) else {}
        answers.write(json.dumps({**figures, "peak": memory()[1] - loaded}) + "\n")
        answers.flush()
    if output:
        output.write_text(json.dumps(result))


class Child:
    """A child process, as its parent sees it."""

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)
        self._answer()

    def once(self) -> dict[str, float]:
        """Let the child work once: wall and CPU seconds, peak bytes above the loaded model since it was loaded."""
        if self._process.stdin is None:
            raise RuntimeError("the child has no stdin")
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._answer()

    def end(self) -> None:
        self._process.communicate()

    def _answer(self) -> dict[str, float]:
        if self._process.stdout is None:
            raise RuntimeError("the child has no stdout")
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the child ended with {self._process.wait()}: {self._process.args!r}")
        found: dict[str, float] = json.loads(line)
        return found
