"""The percentiles of a load test as a picture: one panel for each number of clients, one curve for each system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from osparse.charts.style import Theme, colour, new_figure, plain_numbers, save, theme
from osparse.retrieval.loadtest.load_report import PERCENTILES
from osparse.retrieval.loadtest.open_loop import Samples

WIDTH, HEIGHT = 4.6, 4.2
"""Inches of one panel."""
Curves = Mapping[tuple[str, int], Samples]
"""(system, clients) -> what was seen."""


def draw_percentiles(path: Path, curves: Curves, title: str, look: str = "light") -> None:
    """Write a PNG: response time over percentile, dashed from sending alone; both axes logarithmic.

    Raises :class:`MissingExtraError` without matplotlib.
    """
    with theme(look) as chosen:
        numbers = sorted({clients for _, clients in curves})
        figure = new_figure(WIDTH * len(numbers) + 0.6, HEIGHT)
        panels: Sequence[Any] = figure.subplots(1, len(numbers), sharey=True, squeeze=False)[0]
        for panel, clients in zip(panels, numbers, strict=True):
            systems = [name for name, of in curves if of == clients]
            _panel(panel, {name: curves[name, clients] for name in systems}, clients, chosen)
        panels[0].set_ylabel("ms from when the request was due")
        panels[0].legend(fontsize=8)
        figure.suptitle(title, fontsize=11)
        save(figure, path)


def _panel(panel: Any, systems: Mapping[str, Samples], clients: int, look: Theme) -> None:
    for place, (name, samples) in enumerate(systems.items()):
        shown = [q for q in _grid() if samples.percentile(q) is not None]
        across = [_across(q) for q in shown]
        drawn = colour(look, place)
        panel.plot(across, [samples.percentile(q) for q in shown], color=drawn, linewidth=1.6, label=name)
        panel.plot(across, [samples.service_percentile(q) for q in shown], color=drawn, linewidth=0.8, linestyle="--")
    panel.set_yscale("log")
    panel.set_xticks([_across(q) for q in PERCENTILES], [f"p{q:g}" for q in PERCENTILES], fontsize=8)
    panel.set_title(f"{clients} client{'s' if clients > 1 else ''}")
    panel.grid(True)
    plain_numbers(panel.yaxis)


def _across(q: float) -> float:
    """Equal steps for p90, p99, p99.9: minus the logarithm of the share above."""
    return float(-np.log10(1 - q / 100))


def _grid() -> list[float]:
    return [float(100 * (1 - 10**-x)) for x in np.linspace(_across(25), _across(99.9), 60)]
