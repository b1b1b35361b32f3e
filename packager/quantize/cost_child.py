"""A process that loads one model.onnx and runs one text, to measure what that takes; needs numpy and ONNX Runtime.

    python -P cost_child.py MODEL IDS ROUNDS        writes {"cpu_seconds": .., "memory_bytes": ..}

``cpu_seconds``: the least of ROUNDS runs of the text. ``memory_bytes``: the most that was resident above what the
libraries take, from loading on; null where the kernel does not say it.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime

STATUS = Path("/proc/self/status")


def resident(field: str) -> int | None:
    """Bytes of a field of the process's status: VmRSS now, VmHWM at most."""
    if not STATUS.exists():
        return None
    lines = dict(line.split(":", 1) for line in STATUS.read_text(encoding="utf-8").splitlines())
    return int(lines[field].split()[0]) * 1024


def main(model: str, ids: str, rounds: str) -> None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    before = resident("VmRSS")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    row = np.array([json.loads(ids)], np.int64)
    inputs = dict(zip([i.name for i in session.get_inputs()], (row, np.ones_like(row)), strict=True))
    least = float("inf")
    for _ in range(int(rounds)):
        begun = time.process_time()
        session.run(None, inputs)
        least = min(least, time.process_time() - begun)
    most = resident("VmHWM")
    memory = None if before is None or most is None else most - before
    sys.stdout.write(json.dumps({"cpu_seconds": least, "memory_bytes": memory}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
