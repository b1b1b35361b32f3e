"""A run's metrics.jsonl: one JSON object per line, written while training, read by ``osparse monitor``.

{"kind": "validation", "part": 0, "stage": "start", "step": 0, "ndcg": 0.48, ...}, before the first step of fine-tuning
{"kind": "step", "part": 1, "stage": "ranking", "step": 120, "steps": 600, "seconds": 80.1, "loss": 1.2, ...}
{"kind": "validation", "part": 1, "stage": "ranking", "step": 200, "ndcg": 0.61, "directions": {...}, ...}
{"kind": "end", "seconds": 350.0}, or "stopped" where training was interrupted or failed

A training process locks RUN/run.lock until it ends, in whatever way.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from osparse.errors import InputError
from osparse.io.files import write_atomic
from osparse.io.locks import acquire, is_held
from osparse.plugins.extras import require

FILE = "metrics.jsonl"
LOCK = "run.lock"


@contextmanager
def sole_process(folder: Path) -> Iterator[None]:
    """Hold the run folder; raises :class:`InputError` if another training process does.

    A folder that did not exist before, and in which nothing was written, is removed again.
    """
    new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = acquire(folder / LOCK, wait=1.0)
    if descriptor is None or not (folder / LOCK).exists():  # its holder removed the folder while this one waited
        raise InputError(f"{folder} is in use by another training process; wait for it, or choose another output")
    try:
        yield
    finally:
        if new and [path.name for path in folder.iterdir()] == [LOCK]:
            (folder / LOCK).unlink()
            folder.rmdir()
        os.close(descriptor)


def is_running(folder: Path) -> bool:
    """Whether a process of this machine trains there."""
    return is_held(folder / LOCK)


def run_folder(output: Path) -> Path:
    """Where a run keeps its log and checkpoint: beside the output."""
    return output.with_name(f"{output.name}.run")


class RunLog:
    """Appends lines; ``seconds`` counts the training time of all processes that continued the run."""

    def __init__(
        self, folder: Path, *, keep: Callable[[dict[str, Any]], bool] | None = None, tensorboard: bool = False
    ) -> None:
        """``keep``: which lines of an earlier process stay; without it the log is new."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / FILE
        kept = [row for row in _rows(path) if keep(row)] if keep is not None and path.is_file() else []
        write_atomic(path, "".join(_line(row) for row in kept))
        self.path = path
        self._events = EventFiles(folder / "tensorboard", kept) if tensorboard else None
        self._started = time.monotonic() - (kept[-1].get("seconds", 0.0) if kept else 0.0)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def write(self, kind: str, **values: Any) -> None:
        row = {"kind": kind, "seconds": round(self.seconds, 2), **values}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_line(row))
        if self._events is not None:
            self._events.write(row)

    def close(self) -> None:
        """Close the event files, which hold a file and a thread; the log itself is closed after each line."""
        if self._events is not None:
            self._events.close()


class EventFiles:
    """The same numbers as TensorBoard scalars, ``stage/name`` over the steps of a stage."""

    def __init__(self, folder: Path, kept: list[dict[str, Any]]) -> None:
        """``kept``: lines of an earlier process, written again.

        Raises :class:`osparse.errors.MissingExtraError` if tensorboard is not installed.
        """
        require_tensorboard()
        from torch.utils.tensorboard import SummaryWriter

        shutil.rmtree(folder, ignore_errors=True)
        self._writer: Any = SummaryWriter(str(folder))
        for row in kept:
            self.write(row)

    def write(self, row: dict[str, Any]) -> None:
        if "step" in row:
            for name, value in row.items():
                if isinstance(value, (int, float)) and name not in ("part", "step", "steps"):
                    self._writer.add_scalar(f"{row['part']}-{row['stage']}/{row['kind']}/{name}", value, row["step"])
            for name, value in row.get("directions", {}).items():
                self._writer.add_scalar(f"{row['part']}-{row['stage']}/ndcg/{name}", value, row["step"])
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


def require_tensorboard() -> None:
    """Raises :class:`osparse.errors.MissingExtraError` with the pip command if tensorboard is not installed."""
    require("tensorboard", "tensorboard")


def read_log(folder: Path) -> list[dict[str, Any]]:
    """All lines of a run folder; raises :class:`InputError` if it is not one."""
    path = folder / FILE
    if not path.is_file():
        beside = folder.with_name(f"{folder.name}.run")
        hint = f"; did you mean {beside}?" if (beside / FILE).is_file() else "; osparse train makes one at OUTPUT.run"
        raise InputError(f"{folder} is not a training run: it has no {FILE}{hint}")
    return _rows(path)


def _rows(path: Path) -> list[dict[str, Any]]:
    """The whole lines; a last one without its end is being written, or a kill cut it off."""
    lines = path.read_bytes().split(b"\n")[:-1]
    try:
        return [json.loads(line) for line in lines if line.strip()]
    except ValueError as problem:
        raise InputError(f"{path} is not a run's log: {problem}; train again without `resume`") from None


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"
