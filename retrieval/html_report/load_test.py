"""The JSON file of a load test: rows with a system, its clients, and percentiles of the response time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osparse.errors import InputError
from osparse.io.files import read_json

NAME = "loadtest.json"


@dataclass(frozen=True)
class LoadRow:
    """One system with one number of clients."""

    system: str
    clients: int
    percentiles: dict[str, float]
    """``p50``, ``p99`` and the like -> milliseconds; without those that had too few requests."""
    throughput: float | None
    """Answers a second."""
    errors: int


def read_load_test(path: Path) -> list[LoadRow]:
    """Read ``loadtest.json``, or the folder that it is in.

    Raises :class:`InputError` if the file is not the result of a load test.
    """
    file = path / NAME if path.is_dir() else path
    raw = read_json(file)
    try:
        rows = [_row(row) for row in raw["rows"]]
        if not rows:
            raise KeyError("rows")
        return rows
    except (AttributeError, KeyError, TypeError, ValueError):
        raise InputError(
            f"{file} is not the result of a load test (rows with system, clients and percentiles such as p50)"
        ) from None


def _row(raw: Mapping[str, Any]) -> LoadRow:
    percentiles = {str(name): float(ms) for name, ms in raw["percentiles"].items() if ms is not None}
    throughput = raw.get("throughput")
    return LoadRow(
        system=str(raw["system"]),
        clients=int(raw["clients"]),
        percentiles=percentiles,
        throughput=None if throughput is None else float(throughput),
        errors=int(raw.get("failed", 0)) + int(raw.get("unsent", 0)),
    )
