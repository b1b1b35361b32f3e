"""The folder of a tuning run: plan.json, table.txt, front.png and index.html."""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping
from html import escape
from pathlib import Path

from osparse.errors import MissingExtraError
from osparse.io.files import write_atomic
from osparse.retrieval.tuning.result.picture import front_picture
from osparse.retrieval.tuning.result.plan import HEAD, TuningPlan, difference, row

log = logging.getLogger("osparse.retrieval.tuning.result.output")

FILES = ("plan.json", "table.txt", "front.png", "index.html")


def write_output(folder: Path, plan: TuningPlan) -> None:
    """Write the files; without matplotlib the picture is left out, with a warning."""
    folder.mkdir(parents=True, exist_ok=True)
    plan.save(folder / "plan.json")
    write_atomic(folder / "table.txt", f"{plan}\n")
    try:
        pictures = {look: front_picture(plan, look) for look in ("light", "dark")}
        write_atomic(folder / "front.png", pictures["light"])
    except MissingExtraError as problem:
        log.warning("no picture of the front: %s", problem)
        pictures = {}
    write_atomic(folder / "index.html", page(plan, pictures))


def page(plan: TuningPlan, pictures: Mapping[str, bytes]) -> str:
    """One HTML page without any reference to the network; ``pictures``: by look, or none."""
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
    images = {look: f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}" for look, png in pictures.items()}
    shown = _PICTURE.format(**images) if images else ""
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


_PICTURE = """<picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">
<img alt="nDCG@10 over latency and index size" src="{light}"></picture>"""
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
img {{ max-width: 100%; }}
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
