"""A run's metrics.jsonl: one JSON object per line, written while training, read by ``osparse monitor``.

{"kind": "step", "part": 1, "stage": "ranking", "step": 120, "steps": 600, "seconds": 80.1, "loss": 1.2, ...}
{"kind": "validation", "part": 1, "stage": "ranking", "step": 200, "ndcg": 0.61, "directions": {...}, ...}
{"kind": "end", "seconds": 350.0}, or "stopped" where training was interrupted or failed
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from osparse.errors import InputError
from osparse.files import write_atomic

FILE = "metrics.jsonl"


class RunLog:
    """Appends lines; ``seconds`` counts the training time of all the run's sittings."""

    def __init__(self, folder: Path, *, keep: Callable[[dict[str, Any]], bool] | None = None) -> None:
        """``keep``: which lines of an earlier sitting stay; without it the log starts anew."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / FILE
        kept = [row for row in _rows(path) if keep(row)] if keep is not None and path.is_file() else []
        write_atomic(path, "".join(_line(row) for row in kept))
        self.path = path
        self._started = time.monotonic() - (kept[-1].get("seconds", 0.0) if kept else 0.0)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def write(self, kind: str, **values: Any) -> None:
        row = {"kind": kind, "seconds": round(self.seconds, 2), **values}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_line(row))


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
        raise InputError(f"{path} is not a run's log: {problem}; train again without --resume") from None


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"
