"""A tuning plan as a picture: quality against latency and against the size of the index."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from osparse.charts.fonts import drawable
from osparse.charts.style import DPI, Theme, colour, new_figure, plain_numbers, theme
from osparse.retrieval.tuning.result.choice import Point, front
from osparse.retrieval.tuning.result.plan import TuningPlan

WIDTH, HEIGHT, LINE = 9.0, 4.4, 0.19
"""Inches of the panels, and of a line of the list below them."""
NEAR = 0.035
"""Share of a panel's width or height within which dots have one label."""
Places = Sequence[tuple[float, float]]


def front_picture(plan: TuningPlan, look: str = "light") -> bytes:
    """A PNG: nDCG@10 on test over p95 and over the size of the index; hollow dots are not on the Pareto front.

    Raises :class:`MissingExtraError` without matplotlib.
    """
    with theme(look) as chosen:
        figure = new_figure(WIDTH, HEIGHT + LINE * len(plan.points))
        top, bottom = figure.subfigures(2, 1, height_ratios=(HEIGHT, LINE * len(plan.points)))
        panels = top.subplots(1, 2, sharey=True)
        _panel(panels[0], [point.p95 for point in plan.points], "p95 of one search, ms", plan, chosen)
        _panel(panels[1], [point.bytes / 1e6 for point in plan.points], "index, MB", plan, chosen)
        panels[0].set_ylabel("nDCG@10 on test queries")
        top.suptitle(drawable(plan.index), fontsize=11)
        top.legend(handles=_kinds(panels[0], chosen), loc="outside lower center", ncols=4, fontsize=9)
        named = "\n".join(f"{number}   {drawable(str(point.setting))}" for number, point in enumerate(plan.points))
        bottom.text(0.02, 0.98, named, fontsize=9, va="top", linespacing=1.4)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def _panel(axes: Any, costs: Sequence[float], label: str, plan: TuningPlan, look: Theme) -> None:
    on_front = {id(point) for point in front(plan.points)}
    for cost, point in zip(costs, plan.points, strict=True):
        marker, drawn, size = _look_of(point, plan, look)
        filled = drawn if id(point) in on_front else look.page
        axes.scatter(cost, point.test, s=size, marker=marker, edgecolors=drawn, facecolors=filled, zorder=2)
    axes.margins(0.1)
    axes.set_xlabel(label)
    axes.grid(True)
    plain_numbers(axes.xaxis)
    plain_numbers(axes.yaxis)
    places = [(cost, point.test) for cost, point in zip(costs, plan.points, strict=True)]
    for numbers in near_places(places, axes.get_xlim(), axes.get_ylim()):
        text = ", ".join(map(str, numbers))
        axes.annotate(text, places[numbers[-1]], xytext=(7, 5), textcoords="offset points", fontsize=9)


def _look_of(point: Point, plan: TuningPlan, look: Theme) -> tuple[str, str, float]:
    """Marker, colour and area."""
    if point is plan.choice:
        return "*", colour(look, 2), 170.0
    return ("s", look.text, 42.0) if point is plan.present else ("o", colour(look, 0), 46.0)


def _kinds(axes: Any, look: Theme) -> list[Any]:
    """A legend's entries, drawn outside of the data."""
    kinds = (
        ("*", colour(look, 2), colour(look, 2), "chosen"),
        ("s", look.text, look.text, "present"),
        ("o", colour(look, 0), colour(look, 0), "on the Pareto front (validation, p95, size)"),
        ("o", colour(look, 0), look.page, "not on it"),
    )
    return [
        axes.scatter([], [], marker=marker, edgecolors=edge, facecolors=face, label=label)
        for marker, edge, face, label in kinds
    ]


def near_places(places: Places, across: tuple[float, float], up: tuple[float, float]) -> list[list[int]]:
    """Numbers of the places, those that lie within :data:`NEAR` of the first of a group together."""
    groups: list[list[int]] = []
    width, height = NEAR * (across[1] - across[0]), NEAR * (up[1] - up[0])
    for number, (x, y) in enumerate(places):
        firsts = (places[group[0]] for group in groups)
        near = (place for place, (a, b) in enumerate(firsts) if abs(a - x) <= width and abs(b - y) <= height)
        place = next(near, None)
        if place is None:
            groups.append([number])
        else:
            groups[place].append(number)
    return groups
