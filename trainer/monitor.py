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

from osparse.trainer.runlog import read_log

REFRESH_SECONDS = 1.0
BLOCKS = "▁▂▃▄▅▆▇█"
WIDTH = 40
"""Characters of a curve."""


def monitor(run: Path, *, once: bool = False, console: Console | None = None) -> list[dict[str, Any]]:
    """Show a run until it ends or stops, or once; returns the log's lines.

    Raises :class:`InputError` if ``run`` is not a run folder.
    """
    console = console or Console()
    rows = read_log(run)
    if once:
        console.print(picture(rows))
        return rows
    with Live(picture(rows), console=console, auto_refresh=False) as live:
        while not _ended(rows):
            time.sleep(REFRESH_SECONDS)
            rows = read_log(run)
            live.update(picture(rows), refresh=True)
        live.update(picture(rows), refresh=True)
    return rows


def picture(rows: list[dict[str, Any]]) -> Group:
    """The log as tables: where it is, one line per loss part with its curve, one line per validation."""
    steps = [row for row in rows if row["kind"] == "step"]
    if not steps:
        return Group(Text("no step yet"))
    last = steps[-1]
    stopped = "; stopped: osparse train --resume goes on from its checkpoint" if rows[-1]["kind"] == "stopped" else ""
    left = stopped if _ended(rows) else f", about {_seconds_left(steps):.0f} s left in this stage"
    head = Text(f"{last['stage']}: step {last['step']} of {last['steps']}, {rows[-1]['seconds']:.0f} s{left}")
    bar = ProgressBar(total=last["steps"], completed=last["step"], width=2 * WIDTH)
    return Group(head, bar, _curves([row for row in steps if row["stage"] == last["stage"]]), _validations(rows))


def _ended(rows: list[dict[str, Any]]) -> bool:
    return any(row["kind"] in ("end", "stopped") for row in rows)


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
    mine = [row for row in steps if row["stage"] == last["stage"]]
    done = last["step"] - mine[0]["step"]
    rate = (last["seconds"] - mine[0]["seconds"]) / done if done else 0.0
    return float(rate * (last["steps"] - last["step"]))


def _curves(steps: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("", "now", ""):
        table.add_column(name, no_wrap=True)
    about = {"kind", "part", "stage", "step", "steps", "seconds"}
    for name in [key for key in steps[-1] if key not in about]:
        values = [float(row[name]) for row in steps if name in row]
        table.add_row(name, f"{values[-1]:.4g}", curve(values))
    return table


def _validations(rows: list[dict[str, Any]]) -> Table:
    found = [row for row in rows if row["kind"] == "validation"]
    table = Table(title="validation, nDCG@10" if found else None, box=None, pad_edge=False, title_justify="left")
    if not found:
        return table
    names = list(found[-1]["directions"])
    for name in ("stage", "step", "mean", *names, "non-zeros"):
        table.add_column(name, overflow="fold")
    best = max(row["ndcg"] for row in found)
    for row in found:
        values = [f"{row['directions'].get(name, 0.0):.3f}" for name in names]
        style = "bold" if row["ndcg"] == best else ""
        table.add_row(
            row["stage"], str(row["step"]), f"{row['ndcg']:.3f}", *values, f"{row['nonzeros']:.0f}", style=style
        )
    return table
