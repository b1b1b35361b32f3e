"""The folder of a tuning run: plan.json, table.txt, front.png and index.html."""

from __future__ import annotations

import base64
import io
import logging
from html import escape
from pathlib import Path

from osparse.errors import MissingExtraError
from osparse.io.files import write_atomic
from osparse.plugins.extras import require
from osparse.retrieval.tuning.result.choice import Point, front
from osparse.retrieval.tuning.result.plan import HEAD, TuningPlan, difference, row

log = logging.getLogger("osparse.retrieval.tuning.result.output")

FILES = ("plan.json", "table.txt", "front.png", "index.html")
WIDTH, HEIGHT, DPI = 9.0, 5.0, 110
INK = "#1a1a1a"


def write_output(folder: Path, plan: TuningPlan) -> None:
    """Write the files; without matplotlib the picture is left out, with a warning."""
    folder.mkdir(parents=True, exist_ok=True)
    plan.save(folder / "plan.json")
    write_atomic(folder / "table.txt", f"{plan}\n")
    try:
        picture = front_picture(plan)
    except MissingExtraError as problem:
        log.warning("no picture of the front: %s", problem)
        picture = b""
    if picture:
        write_atomic(folder / "front.png", picture)
    write_atomic(folder / "index.html", page(plan, picture))


def front_picture(plan: TuningPlan) -> bytes:
    """A PNG: nDCG@10 on test over p95 and over the size of the index, the Pareto front joined by a line."""
    require("matplotlib", "train")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    costs = (
        ("p95 of one search, ms", [point.p95 for point in plan.points]),
        ("index, MB", [point.bytes / 1e6 for point in plan.points]),
    )
    ordered = front(plan.points)
    for axis, (label, values) in zip(axes, costs, strict=True):
        cost = {id(point): value for point, value in zip(plan.points, values, strict=True)}
        line = sorted(ordered, key=lambda point: cost[id(point)])
        axis.plot([cost[id(p)] for p in line], [p.test for p in line], color="#9db4c8", linewidth=1, zorder=1)
        for number, point in enumerate(plan.points):
            axis.scatter(cost[id(point)], point.test, s=46, zorder=2, color=_colour(point, plan))
            axis.annotate(
                str(number), (cost[id(point)], point.test), xytext=(5, 4), textcoords="offset points", fontsize=8
            )
        axis.set_xlabel(label)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("nDCG@10 on test queries")
    named = [f"{number}  {point.setting}" for number, point in enumerate(plan.points)]
    title = f"{plan.index}: green chosen, black present, blue others (line: Pareto front on validation)"
    figure.suptitle(title, fontsize=10, color=INK)
    figure.supxlabel("\n".join(named), fontsize=7, x=0.01, ha="left", color=INK)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _colour(point: Point, plan: TuningPlan) -> str:
    if point is plan.choice:
        return "#2a8f5a"
    return "#1a1a1a" if point is plan.present else "#2f6fa7"


def page(plan: TuningPlan, picture: bytes) -> str:
    """One HTML page without any reference to the network."""
    rows = "\n".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in (str(number), *row(point, plan))) + "</tr>"
        for number, point in enumerate(plan.points)
    )
    head = "".join(f"<th>{escape(name)}</th>" for name in ("", *HEAD))
    directions = sorted({name for point in plan.points for name in point.by_direction})
    each = "\n".join(
        f"<tr><td>{number}</td>"
        + "".join(f"<td>{point.by_direction.get(direction, 0):.4f}</td>" for direction in directions)
        + "</tr>"
        for number, point in enumerate(plan.points)
    )
    steps = "".join(
        f"<li>{'One step up' if name == 'up' else 'One step down'}: {escape(difference(point, plan.choice))}</li>"
        for name, point in plan.steps().items()
    )
    notes = "".join(f"<li>{escape(note)}</li>" for note in plan.notes)
    image = base64.b64encode(picture).decode("ascii")
    shown = f'<img alt="nDCG@10 over latency and index size" src="data:image/png;base64,{image}">' if picture else ""
    return _PAGE.format(
        title=escape(f"Tuning of {plan.index}"),
        verdict=escape(plan.verdict),
        setting=escape(str(plan.choice.setting)),
        picture=shown,
        head=head,
        rows=rows,
        directions="".join(f"<th>{escape(direction)}</th>" for direction in directions),
        each=each,
        steps=steps,
        notes=notes,
        applied=escape(plan.applied or "nothing"),
        budgets=escape(", ".join(plan.budgets) or "none given"),
        tried=plan.tried,
        minutes=f"{plan.seconds / 60:.1f}",
    )


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }}
table {{ display: block; overflow: auto; }}
th, td {{ padding: .25rem .6rem; border-bottom: 1px solid #8884; text-align: right; white-space: pre; }}
th:nth-child(2), td:nth-child(2) {{ text-align: left; }}
img {{ max-width: 100%; background: #fff; }}
</style></head><body>
<h1>{title}</h1>
<p><strong>Chosen: {setting}</strong></p>
<p>{verdict}.</p>
<p>{tried} settings tried in {minutes} minutes. Budgets: {budgets}. Applied: {applied}.</p>
{picture}
<h2>Measured settings</h2>
<p>&gt; chosen, = present, * on the Pareto front of validation nDCG@10, p95 and bytes. p is of a paired randomisation
test on the test queries against the present setting, by Holm's correction. Indices are measured in one segment.</p>
<table><thead><tr>{head}</tr></thead><tbody>
{rows}
</tbody></table>
<h2>nDCG@10 on test by direction</h2>
<table><thead><tr><th></th>{directions}</tr></thead><tbody>
{each}
</tbody></table>
<h2>Next steps</h2><ul>{steps}</ul>
<h2>Notes</h2><ul>{notes}</ul>
</body></html>
"""
