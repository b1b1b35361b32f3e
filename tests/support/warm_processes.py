"""Python programs in processes of their own that need not import torch, transformers and the rest again.

They are forked from a process that has imported those and has no threads; programs import osparse itself anew.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

PRELOADED = [
    "torch", "sklearn", "scipy.stats", "accelerate", "transformers.models.bert.modeling_bert", "safetensors.torch",
    "opensearchpy", "yaml", "click", "matplotlib.figure", "pytest",
    "osparse.deployer.operate.deploy", "osparse.deployer.operate.removal", "osparse.deployer.load.load",
    "osparse.encoders.onnx_encoder",
]  # fmt: skip
"""Not polars and onnxruntime, whose import starts threads; nor the tests' own modules, whose folders that process does
not know."""


def context() -> Any:
    """For processes forked from the one that has imported :data:`PRELOADED`; it starts with the first of them."""
    forking = multiprocessing.get_context("forkserver")
    forking.set_forkserver_preload(PRELOADED)
    return forking


@dataclass(frozen=True)
class Program:
    """A program that was started."""

    process: BaseProcess
    folder: Path

    def wait(self, seconds: float = 120) -> int:
        """Its exit code, below 0 for the signal that ended it; a program that takes longer is killed."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
            raise AssertionError(f"not done after {seconds:.0f} s:\n{self.stderr}")
        return self.process.exitcode

    @property
    def stdout(self) -> str:
        return (self.folder / "stdout").read_text(encoding="utf-8")

    @property
    def stderr(self) -> str:
        return (self.folder / "stderr").read_text(encoding="utf-8")


def start(
    code: str, arguments: Sequence[str], folder: Path, *, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Program:
    """Begin ``python -c code arguments``, whose output goes to the new ``folder``.

    Args:
        cwd: The working directory, from which is imported first.
        env: What is set beside this process's environment.
    """
    folder.mkdir(parents=True)
    given = {**os.environ, **(env or {})}
    process = context().Process(target=_run, args=(code, [*arguments], str(folder), str(cwd or Path.cwd()), given))
    process.start()
    return Program(process, folder)


def _run(code: str, arguments: list[str], folder: str, cwd: str, env: dict[str, str]) -> None:
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CREAT), number)
    sys.stdout, sys.stderr = open(1, "w", encoding="utf-8", buffering=1), open(2, "w", encoding="utf-8", buffering=1)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.argv = ["-c", *arguments]
    sys.path.insert(0, cwd)
    for name in [name for name in sys.modules if name.partition(".")[0] == "osparse"]:
        del sys.modules[name]
    exec(compile(code, "<program>", "exec"), {"__name__": "__main__"})
