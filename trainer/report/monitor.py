"""A run's log as a picture in the terminal: the stage, the loss parts, the measurements so far. Imports no torch."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from osparse.trainer.report.run_log import is_running, read_log

REFRESH_SECONDS = 1.0
BLOCKS = "▁▂▃▄▅▆▇█"
WIDTH = 40
"""Characters of a curve."""
EXTRA = {
    "posting_max": ("longest posting list", "{:.0%} of documents"),
    "flops": ("FLOPS", "{:.3g}"),
    "empty": ("empty", "{:.1%} of documents"),
}
"""Other numbers of a validation -> their column and its form: share of documents in the longest posting list, products
per score, share of documents without a weight."""


def monitor(run: Path, *, once: bool = False, console: Console | None = None) -> list[dict[str, Any]]:
    """Show a run until it ends, stops or is killed, or once; returns the log's lines.

    Raises :class:`InputError` if ``run`` is not a run folder.
    """
    console = console or Console()
    rows, alive = read_log(run), is_running(run)
    if once:
        console.print(picture(rows, alive=alive))
        return rows
    with Live(picture(rows, alive=alive), console=console, auto_refresh=False) as live:
        while alive and not _ended(rows):
            time.sleep(REFRESH_SECONDS)
            alive = is_running(run)  # before the log: what a process wrote at its end is then read
            rows = read_log(run)
            live.update(picture(rows, alive=alive), refresh=True)
    return rows


def picture(rows: list[dict[str, Any]], *, alive: bool) -> Group:
    """The log as tables: the current step, one line per loss part with its curve, one line per validation.

    ``alive``: whether a process trains there.
    """
    steps = [row for row in rows if row["kind"] == "step"]
    if not steps:
        return Group(Text("no step yet" + _state(rows, steps, alive)))
    last = steps[-1]
    head = Text(
        f"{last['stage']}: step {last['step']} of {last['steps']}, {rows[-1]['seconds']:.0f} s"
        + _state(rows, steps, alive)
    )
    bar = ProgressBar(total=last["steps"], completed=last["step"], width=2 * WIDTH)
    return Group(head, bar, _curves([row for row in steps if row["part"] == last["part"]]), _validations(rows))


def _state(rows: list[dict[str, Any]], steps: list[dict[str, Any]], alive: bool) -> str:
    if rows and rows[-1]["kind"] == "end":
        return "; done"
    if rows and rows[-1]["kind"] == "stopped":
        return "; stopped: osparse train with `resume=True` continues from its checkpoint"
    if not alive:
        return "; no process of this machine trains here: it was killed (`resume=True` continues it) or is elsewhere"
    return f", about {_seconds_left(steps):.0f} s left in this stage" if steps else ""


def _ended(rows: list[dict[str, Any]]) -> bool:
    return bool(rows) and rows[-1]["kind"] in ("end", "stopped")


def curve(values: list[float], width: int = WIDTH) -> str:
    """Values as block characters, the newest right; more values than ``width`` are averaged."""
    if not values:
        return ""
    size = -(-len(values) // width)
    means = [sum(values[i : i + size]) / len(values[i : i + size]) for i in range(0, len(values), size)]
    low, high = min(means), max(means)
    scale = (len(BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(BLOCKS[round((value - low) * scale)] for value in means)


def _seconds_left(steps: list[dict[str, Any]]) -> float:
    last = steps[-1]
    of_stage = [row for row in steps if row["part"] == last["part"]]
    done = last["step"] - of_stage[0]["step"]
    rate = (last["seconds"] - of_stage[0]["seconds"]) / done if done else 0.0
    return float(rate * (last["steps"] - last["step"]))


def _curves(steps: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("", "now", ""):
        table.add_column(name, no_wrap=True)
    about = {"kind", "part", "stage", "step", "steps", "seconds"}
    for name in [key for key in steps[-1] if key not in about]:
        values = [float(row[name]) for row in steps if isinstance(row.get(name), (int, float))]
        if values:
            table.add_row(name, f"{values[-1]:.4g}", curve(values))
    return table


def _validations(rows: list[dict[str, Any]]) -> Table:
    measured = [row for row in rows if row["kind"] == "validation"]
    table = Table(title="validation, nDCG@10" if measured else None, box=None, pad_edge=False, title_justify="left")
    if not measured:
        return table
    names = list(measured[-1]["directions"])
    extra_names = [name for name in EXTRA if name in measured[-1]]
    for name in ("stage", "step", "mean", *names, "non-zeros", *(EXTRA[name][0] for name in extra_names)):
        table.add_column(name, overflow="fold")
    best = max(row["ndcg"] for row in measured)
    for row in measured:
        values = [f"{row['directions'].get(name, 0.0):.3f}" for name in names]
        style = "bold" if row["ndcg"] == best else ""
        more = [EXTRA[name][1].format(row[name]) if name in row else "" for name in extra_names]
        table.add_row(
            row["stage"], str(row["step"]), f"{row['ndcg']:.3f}", *values, f"{row['nonzeros']:.0f}", *more, style=style
        )
    return table
