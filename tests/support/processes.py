"""Run a script in several processes that find each other as torchrun's do."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import warm_processes

TESTS = Path(__file__).resolve().parent


def run_processes(script: Path, size: int, folder: Path, *arguments: str, seconds: float = 120) -> None:
    """Wait for all; raises with the first failing process's output, which goes to ``folder``."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {
        **os.environ, "WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")])),
    }  # fmt: skip
    code = script.read_text(encoding="utf-8")
    running = [
        warm_processes.start(
            code, arguments, folder / f"rank-{rank}", cwd=script.parent, env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        )
        for rank in range(size)
    ]  # fmt: skip
    try:
        for program in running:
            if program.wait(seconds):
                raise AssertionError(program.stdout + program.stderr)
    finally:
        for program in running:
            program.process.kill()
            program.process.join()
