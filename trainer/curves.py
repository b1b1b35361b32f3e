"""A run's log as a picture for the model card: loss parts, validation nDCG@10, non-zeros. Imports matplotlib late."""

from __future__ import annotations

from pathlib import Path
from typing import Any

CURVES = "curves.png"
_ABOUT = {"kind", "part", "stage", "step", "steps", "seconds", "step_seconds", "lr", "labels", "gpu_gb", "gradient"}
_APART = {"nonzeros", "lambda"}
"""Shown elsewhere: other units than a loss."""


def draw_curves(rows: list[dict[str, Any]], path: Path) -> None:
    """Write a PNG of the log's lines; equal lines give equal bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 8), layout="constrained")
    FigureCanvasAgg(figure)  # no window, whatever the machine's default
    losses, quality, sparsity = figure.subplots(3, 1, sharex=True)
    starts = _starts(rows)
    steps = [row for row in rows if row["kind"] == "step"]
    validations = [row for row in rows if row["kind"] == "validation"]
    for name in sorted({key for row in steps for key in row} - _ABOUT - _APART):
        points = [(starts[row["part"]] + row["step"], row[name]) for row in steps if _positive(row.get(name))]
        losses.plot(*_xy(points), label=name, linewidth=1.2, marker="." if len(points) == 1 else None)
    losses.set(ylabel="loss parts", yscale="log")
    for name in sorted({name for row in validations for name in row["directions"]}):
        points = [(starts[row["part"]] + row["step"], row["directions"].get(name)) for row in validations]
        quality.plot(*_xy(points), label=name, linewidth=1.0, marker="o", markersize=3)
    points = [(starts[row["part"]] + row["step"], row["ndcg"]) for row in validations]
    quality.plot(*_xy(points), label="mean", color="black", linewidth=2, marker="o", markersize=4)
    quality.set(ylabel="validation nDCG@10")
    points = [(starts[row["part"]] + row["step"], row.get("nonzeros")) for row in steps]
    sparsity.plot(*_xy(points), label="in training, before pruning", linewidth=1.2)
    points = [(starts[row["part"]] + row["step"], row["nonzeros"]) for row in validations]
    sparsity.plot(*_xy(points), label="validation, as served", linewidth=1.2, marker="o", markersize=4)
    sparsity.set(ylabel="non-zeros per document", xlabel="step", yscale="log")
    for axes in (losses, quality, sparsity):
        axes.grid(alpha=0.3)
        for start in list(starts.values())[1:]:
            axes.axvline(start, color="grey", linewidth=0.8, linestyle="--")
        if axes.get_legend_handles_labels()[1]:
            axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.suptitle(
        "  |  ".join(f"{name} from step {starts[part]}" for part, name in _stages(rows).items()), fontsize=10
    )
    figure.savefig(path, dpi=100, metadata={"Software": None})


def _stages(rows: list[dict[str, Any]]) -> dict[int, str]:
    return {row["part"]: row["stage"] for row in rows if "part" in row}


def _starts(rows: list[dict[str, Any]]) -> dict[int, int]:
    """Part -> steps of the parts before it."""
    lengths = {row["part"]: int(row["steps"]) for row in rows if row["kind"] == "step"}
    found, total = {}, 0
    for part in _stages(rows):
        found[part] = total
        total += lengths.get(part, 0)
    return found


def _positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and value > 0


def _xy(points: list[tuple[int, Any]]) -> tuple[list[int], list[float]]:
    shown = [(x, float(y)) for x, y in points if isinstance(y, (int, float))]
    return [x for x, _ in shown], [y for _, y in shown]
