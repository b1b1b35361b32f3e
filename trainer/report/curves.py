"""A run's log as a picture for the model card: loss parts, validation nDCG@10, non-zeros over the steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, ScalarFormatter

CURVES = "curves.png"
Rows = list[dict[str, Any]]
Value = Callable[[dict[str, Any]], Any]
_NOT_LOSSES = {
    "kind", "part", "stage", "step", "steps", "seconds", "step_seconds", "lr", "labels", "gpu_gb", "gradient",
    "nonzeros", "lambda",
}  # fmt: skip
"""Numbers of a step that are not a loss, or have another unit."""


def draw_curves(rows: Rows, path: Path) -> None:
    """Write a PNG of the log's lines; equal lines give equal bytes."""
    figure = Figure(figsize=(10, 8), layout="constrained")
    FigureCanvasAgg(figure)  # no window, whatever the machine's default
    losses, quality, sparsity = figure.subplots(3, 1, sharex=True)
    starts = _starts(rows)
    steps = [row for row in rows if row["kind"] == "step"]
    measured = [row for row in rows if row["kind"] == "validation"]
    for name in sorted({key for row in steps for key in row} - _NOT_LOSSES):
        losses.plot(*_series(steps, starts, _loss(name), gaps=True), label=name)
    losses.set(ylabel="loss parts", yscale="log")
    for name in sorted({name for row in measured for name in row["directions"]}):
        values = _series(measured, starts, _direction(name))
        quality.plot(*values, label=name, linewidth=1.0, marker="o", markersize=3)
    mean = _series(measured, starts, lambda row: row["ndcg"])
    quality.plot(*mean, label="mean", color="black", linewidth=2, marker="o", markersize=4)
    for row in measured:
        if row["stage"] == "start":
            quality.axhline(row["ndcg"], color="black", linewidth=0.8, linestyle=":", label="mean, start")
    quality.set(ylabel="validation nDCG@10")
    sparsity.plot(*_series(steps, starts, lambda row: row.get("nonzeros")), label="in training, before pruning")
    served = _series(measured, starts, lambda row: row["nonzeros"])
    sparsity.plot(*served, label="validation, as served", marker="o", markersize=4)
    sparsity.set(ylabel="non-zeros per document", xlabel="step", yscale="log")
    sparsity.yaxis.set_major_formatter(ScalarFormatter())
    sparsity.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 1)))
    for axes in (losses, quality, sparsity):
        axes.grid(alpha=0.3)
        for start in list(starts.values())[1:]:
            axes.axvline(start, color="grey", linewidth=0.8, linestyle="--")
        if axes.get_legend_handles_labels()[1]:
            axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    names = [f"{name} from step {starts[part]}" for part, name in _stages(rows).items()]
    figure.suptitle("  |  ".join(names), fontsize=10)
    figure.savefig(path, dpi=100, metadata={"Software": None})


def _stages(rows: Rows) -> dict[int, str]:
    return {row["part"]: row["stage"] for row in rows if "part" in row}


def _starts(rows: Rows) -> dict[int, int]:
    """Part -> steps of the parts before it."""
    lengths = {row["part"]: int(row["steps"]) for row in rows if row["kind"] == "step"}
    steps_before, total = {}, 0
    for part in _stages(rows):
        steps_before[part] = total
        total += lengths.get(part, 0)
    return steps_before


def _loss(name: str) -> Value:
    def value(row: dict[str, Any]) -> Any:
        number = row.get(name)
        return number if isinstance(number, (int, float)) and number > 0 else None  # the axis is logarithmic

    return value


def _direction(name: str) -> Value:
    return lambda row: row["directions"].get(name)


def _series(rows: Rows, starts: dict[int, int], value: Value, *, gaps: bool = False) -> tuple[list[float], list[float]]:
    """Steps over the whole run and values; with ``gaps`` between two parts, for numbers that do not compare."""
    xs: list[float] = []
    ys: list[float] = []
    part = None
    for row in rows:
        number = value(row)
        if isinstance(number, (int, float)):
            if gaps and part is not None and row["part"] != part:
                xs.append(math.nan)
                ys.append(math.nan)
            part = row["part"]
            xs.append(starts[part] + row["step"])
            ys.append(float(number))
    return xs, ys
