"""The result of a tuning run: every measured setting, the chosen one, and what the next steps up and down cost."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from osparse.errors import InputError
from osparse.io.files import pretty_json, read_json, write_atomic
from osparse.retrieval.serving.settings import Setting
from osparse.retrieval.tuning.result.choice import Point, front

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class TuningPlan:
    """What ``plan.json`` holds."""

    index: str
    fingerprint: str
    """Of the bundle that the index serves."""
    dataset: dict[str, Any]
    """name, fingerprint, queries by split."""
    budgets: list[str]
    points: list[Point]
    """The present setting first, the others by falling nDCG@10 on validation."""
    chosen: int
    """Number of the chosen point."""
    change: bool
    """Whether the chosen setting should take the place of the present one."""
    verdict: str
    notes: list[str]
    """What could not be tuned here, and what was left out."""
    tried: int
    """Settings that were measured on validation queries."""
    seconds: float
    applied: str = ""
    """What ``apply`` changed; empty where nothing was."""
    built: list[dict[str, Any]] = field(default_factory=list)
    """Of a ``sparse_vector`` field: the builds that were made, each with its figures; the present one's first."""

    @property
    def present(self) -> Point:
        return self.points[0]

    @property
    def choice(self) -> Point:
        return self.points[self.chosen]

    def steps(self) -> dict[str, Point]:
        """``up``: the next better point of the front; ``down``: the next cheaper one; those that exist."""
        ordered = front(self.points)
        better = [point for point in ordered if point.validation > self.choice.validation]
        worse = [point for point in ordered if point.validation < self.choice.validation]
        return {**({"up": better[0]} if better else {}), **({"down": worse[-1]} if worse else {})}

    def to_json(self) -> dict[str, Any]:
        rows = [
            {**asdict(point), "setting": point.setting.to_json(), "name": str(point.setting)} for point in self.points
        ]
        return {"schema": SCHEMA_VERSION, **asdict(self), "points": rows}

    def save(self, path: Path) -> None:
        write_atomic(path, pretty_json(self.to_json()))

    @classmethod
    def open(cls, path: Path) -> TuningPlan:
        """Raises :class:`InputError` if the file is not a plan of this version."""
        raw = read_json(path)
        try:
            if raw.pop("schema") != SCHEMA_VERSION:
                raise KeyError("schema")
            points = [_point(row, path) for row in raw.pop("points")]
            return cls(**raw, points=points)
        except (AttributeError, KeyError, TypeError):
            raise InputError(f"{path} is not a plan of this version of osparse tune; run it again") from None

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> list[str]:
        """The table and what follows from it, as text."""
        lines = [f"{self.index}: {self.tried} settings tried in {self.seconds / 60:.1f} minutes", ""]
        shown = [HEAD, *(row(point, self) for point in self.points)]
        widths = [max(len(cells[i]) for cells in shown) for i in range(len(HEAD))]
        for cells in shown:
            aligned = [cells[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True))]
            lines.append("  ".join(aligned).rstrip())
        lines += ["", f"chosen: {self.choice.setting} ({self.verdict})"]
        names = {"up": "next step up", "down": "next step down"}
        lines += [f"{names[name]}: {difference(point, self.choice)}" for name, point in self.steps().items()]
        lines += [f"note: {note}" for note in self.notes]
        if self.applied:
            lines.append(f"applied: {self.applied}")
        elif self.change:
            lines.append("next: run the same command with --apply")
        return lines


HEAD = ("setting", "validation", "test", "gain", "p (Holm)", "p95 ms", "MB", "FLOPS", "recall")
"""The last column is empty where scores are exact."""


def row(point: Point, plan: TuningPlan) -> tuple[str, ...]:
    """One row of the table; * marks the points of the Pareto front, > the chosen one, = the present one."""
    on_front = any(point is one for one in front(plan.points))
    present, chosen = point is plan.present, point is plan.choice
    marks = "".join(sign if there else " " for sign, there in ((">", chosen), ("=", present), ("*", on_front)))
    return (
        f"{marks} {point.setting}",
        f"{point.validation:.4f}",
        f"{point.test:.4f}",
        "" if present else f"{point.gain:+.4f}",
        "" if present else f"{point.p_adjusted:.4f}",
        f"{point.p95:.2f}",
        f"{point.bytes / 1e6:.2f}",
        f"{point.flops:.3f}",
        "" if point.recall is None else f"{point.recall:.4f}",
    )


def difference(point: Point, base: Point) -> str:
    """What another point gives and costs."""
    return (
        f"{point.setting}: {point.test - base.test:+.4f} nDCG@10 on test, p95 {point.p95 - base.p95:+.2f} ms, "
        f"index {(point.bytes - base.bytes) / 1e6:+.2f} MB"
    )


def _point(raw: dict[str, Any], path: Path) -> Point:
    values = {name: value for name, value in raw.items() if name != "name"}
    return Point(**{**values, "setting": Setting.from_json(values["setting"], str(path))})
