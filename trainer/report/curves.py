"""A run's log as a picture for the model card: loss parts, validation nDCG@10, non-zeros, the learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from matplotlib.ticker import LogLocator, NullLocator

from osparse.charts.fonts import drawable
from osparse.charts.style import Theme, at_least_span, colour, new_figure, plain_numbers, save, say, theme

CURVES = "curves.png"
Rows = list[dict[str, Any]]
Value = Callable[[dict[str, Any]], Any]
REGULARISATION = "λ × FLOPS"
LEAST_SPAN = 0.1
"""Of the axis of nDCG@10: differences of .01 are noise, and look like it."""
DECADES = 4
"""Of the losses' axis at most: what rises from nothing, such as lambda x FLOPS, is cut off below."""
LARGEST = 1e30
"""Above it numbers are drawn at it: a run that diverged still has a picture."""
_NOT_LOSSES = {
    "kind", "part", "stage", "step", "steps", "seconds", "step_seconds", "lr", "labels", "gpu_gb", "gradient",
    "nonzeros", "lambda", "flops",
}  # fmt: skip
"""Numbers of a step that are not a loss, or have another unit; FLOPS is drawn as the part of the loss that it is."""


def draw_curves(rows: Rows, path: Path, *, look: str = "light", written: Mapping[str, Any] | None = None) -> None:
    """Write a PNG of the log's lines; equal lines give equal bytes.

    Args:
        look: "light" or "dark".
        written: ``stage`` and ``step`` of the checkpoint that was written; None: the log's end says it, else the best
            measurement of the last stage or of the start.
    """
    starts = _starts(rows)
    steps = [row for row in rows if row["kind"] == "step"]
    measured = [row for row in rows if row["kind"] == "validation"]
    with theme(look) as colours:
        figure = new_figure(10, 10)
        panels = figure.subplots(4, 1, sharex=True, height_ratios=(3, 3, 2, 1))
        losses, quality, sparsity, rate = panels
        _draw_losses(losses, steps, starts, colours)
        _draw_quality(quality, rows, measured, starts, colours, written)
        _draw_sparsity(sparsity, steps, measured, starts, colours)
        _draw_rate(rate, steps, starts, colours)
        for axes in panels:
            axes.grid(axes.yaxis.get_visible())
            for start in list(starts.values())[1:]:
                axes.axvline(start, color=colours.quiet, linewidth=0.8)
            if axes.get_legend_handles_labels()[1]:
                axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
        _name_stages(losses, rows, starts)
        figure.align_ylabels(panels)
        save(figure, path, [name for row in measured for name in row["directions"]])


def _draw_losses(axes: Any, steps: Rows, starts: dict[int, int], look: Theme) -> None:
    parts = {name: _positive(name) for name in sorted({key for row in steps for key in row} - _NOT_LOSSES - {"loss"})}
    if any("lambda" in row and "flops" in row for row in steps):
        parts[REGULARISATION] = _regularisation
    highest, lowest = 0.0, math.inf
    for name, value, colour_ in [
        ("loss", _positive("loss"), look.text),
        *((name, value, colour(look, place)) for place, (name, value) in enumerate(parts.items())),
    ]:
        xs, ys = _series(steps, starts, value, gaps=True)
        if ys:
            width = 2.0 if name == "loss" else 1.2
            axes.plot(xs, ys, label=drawable(name), color=colour_, linewidth=width, **_marks(ys))
            highest = max([highest, *(y for y in ys if not math.isnan(y))])
            lowest = min([lowest, *(y for y in ys if not math.isnan(y))])
    axes.set(ylabel="loss and its parts", yscale="log")
    if highest:
        axes.set_ylim(max(lowest, highest / 10**DECADES) / 1.5, highest * 1.5)
        _log_ticks(axes)
    else:
        say(axes, "no step was logged", look)


def _draw_quality(
    axes: Any, rows: Rows, measured: Rows, starts: dict[int, int], look: Theme, written: Mapping[str, Any] | None
) -> None:
    """Directions in colours; a subset of a direction's queries (its name has a comma) dashed in the same colour."""
    names = sorted({name for row in measured for name in row["directions"]})
    main = [name for name in names if "," not in name]
    for name in names:
        place = main.index(name.split(",")[0]) if name.split(",")[0] in main else len(main)
        style = {"linestyle": "--", "linewidth": 1.0} if "," in name else {"linewidth": 1.3}
        values = _series(measured, starts, _direction(name))
        axes.plot(*values, label=drawable(name), color=colour(look, place), marker="o", markersize=3, **style)
    mean = _series(measured, starts, lambda row: row["ndcg"])
    if mean[0]:
        axes.plot(*mean, label="mean of the directions", color=look.text, linewidth=2.2, marker="o", markersize=4)
    _mark_start_and_written(axes, rows, measured, starts, look, written)
    axes.set(ylabel="validation nDCG@10")
    if mean[0]:
        at_least_span(axes, LEAST_SPAN, low=0.0, high=1.02)
        plain_numbers(axes.yaxis)
    else:
        say(axes, "nothing was measured yet", look)


def _mark_start_and_written(
    axes: Any, rows: Rows, measured: Rows, starts: dict[int, int], look: Theme, written: Mapping[str, Any] | None
) -> None:
    for row in measured:
        if row["stage"] == "start" and _is_number(row["ndcg"]):
            label = f"start: {row['ndcg']:.3f}"
            axes.axhline(row["ndcg"], color=look.text, linewidth=1.0, linestyle=":", label=label)
    best = _written_row(rows, measured, written)
    if best is not None and _is_number(best["ndcg"]):
        where = "the start" if best["stage"] == "start" else f"{best['stage']} step {best['step']}"
        label, place = drawable(f"written: {where}, {best['ndcg']:.3f}"), starts[best["part"]] + best["step"]
        ring = {"markersize": 13, "markerfacecolor": "none", "markeredgewidth": 2.0, "linestyle": "none"}
        axes.plot([place], [best["ndcg"]], marker="o", color=look.text, label=label, **ring)


def _written_row(rows: Rows, measured: Rows, written: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The measurement of the weights that are written."""
    last_part = max((row["part"] for row in measured), default=0)
    of_last = [row for row in measured if row["stage"] == "start" or row["part"] == last_part]
    ends = [row["best"] for row in rows if row["kind"] == "end" and "best" in row]
    if written is None and ends:
        written = ends[-1]
    if written is not None:
        same = [row for row in of_last if (row["stage"], row["step"]) == (written["stage"], written["step"])]
        return same[-1] if same else None
    numbers = [row for row in of_last if _is_number(row["ndcg"])]
    return max(numbers, key=lambda row: row["ndcg"], default=None)  # the first of equal ones, as the loop keeps


def _draw_sparsity(axes: Any, steps: Rows, measured: Rows, starts: dict[int, int], look: Theme) -> None:
    trained = _series(steps, starts, _positive("nonzeros"))
    served = _series(measured, starts, _positive("nonzeros"))
    if trained[1]:
        axes.plot(*trained, label="in training, before pruning", color=colour(look, 0), **_marks(trained[1]))
    if served[1]:
        axes.plot(*served, label="as served", color=colour(look, 1), marker="o", markersize=4)
    numbers = [*trained[1], *served[1]]
    axes.set(ylabel="non-zeros\nper document", yscale="log")
    if numbers:
        low, high = min(numbers), max(numbers)
        middle = math.sqrt(low) * math.sqrt(high)
        axes.set_ylim(min(low / 1.2, middle / 2), max(high * 1.2, middle * 2))
        _log_ticks(axes)
    else:
        say(axes, "no non-zeros were counted", look)


def _draw_rate(axes: Any, steps: Rows, starts: dict[int, int], look: Theme) -> None:
    xs, ys = _series(steps, starts, lambda row: row.get("lr"), gaps=True)
    axes.plot(xs, ys, color=colour(look, 2), **_marks(ys))
    axes.set(ylabel="learning\nrate", xlabel="step")
    axes.set_ylim(bottom=0.0)
    plain_numbers(axes.xaxis)
    plain_numbers(axes.yaxis)


def _name_stages(axes: Any, rows: Rows, starts: dict[int, int]) -> None:
    """Each stage's name above the place where it begins, as far as there is room before the next."""
    names = {part: name for part, name in _stages(rows).items() if name != "start"}
    total = max([1, *(starts[row["part"]] + row["step"] for row in rows if "part" in row)])
    axes.set_xlim(-0.03 * total, 1.03 * total)
    axes.set_title(" ", fontsize=9)  # the names' line
    ends = [*list(starts.values())[1:], total]
    for (part, name), end in zip(names.items(), ends[-len(names) :] if names else (), strict=True):
        share = (end - starts[part]) / total
        text = f"{name}, from step {starts[part]:,}" if share > 0.2 else name
        if share > 0.1:
            where = axes.get_xaxis_transform()
            axes.text(starts[part], 1.02, drawable(text), transform=where, fontsize=9, in_layout=False)


def _log_ticks(axes: Any) -> None:
    """1, 2, 5, 10, ... over one or two decades, the powers of ten over more; plain numbers."""
    bottom, top = axes.get_ylim()
    few = top / bottom < 100
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,), numticks=8))
    axes.yaxis.set_minor_locator(NullLocator())
    plain_numbers(axes.yaxis)


def _marks(values: list[float]) -> dict[str, Any]:
    """A single point has no line, so it is drawn as a dot."""
    return {"marker": "o", "markersize": 4} if len(values) < 3 else {}


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


def _positive(name: str) -> Value:
    """A number above 0, as a logarithmic axis needs it."""
    return lambda row: row.get(name) if _is_number(row.get(name)) and row[name] > 0 else None


def _regularisation(row: dict[str, Any]) -> float | None:
    weight, flops = row.get("lambda"), row.get("flops")
    if not isinstance(weight, (int, float)) or not isinstance(flops, (int, float)):
        return None
    product = weight * flops
    return product if _is_number(product) and product > 0 else None


def _direction(name: str) -> Value:
    return lambda row: row["directions"].get(name)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _series(rows: Rows, starts: dict[int, int], value: Value, *, gaps: bool = False) -> tuple[list[float], list[float]]:
    """Steps over the whole run and finite values; with ``gaps`` between two parts, whose numbers do not compare."""
    xs: list[float] = []
    ys: list[float] = []
    part = None
    for row in rows:
        number = value(row)
        if _is_number(number):
            if gaps and part is not None and row["part"] != part:
                xs.append(math.nan)
                ys.append(math.nan)
            part = row["part"]
            xs.append(starts[part] + row["step"])
            ys.append(min(float(number), LARGEST))
    return xs, ys
