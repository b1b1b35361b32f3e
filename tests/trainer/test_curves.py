"""The picture of a run: what it shows, and that awkward logs are drawn too."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib.image
import pytest
from matplotlib.figure import Figure

from osparse.charts import style
from osparse.trainer.report import curves
from osparse.trainer.report.curves import REGULARISATION, draw_curves


def step(part: int, stage: str, number: int, **values: Any) -> dict[str, Any]:
    row = {"kind": "step", "part": part, "stage": stage, "step": number, "steps": 20, "lr": 1e-3, "loss": 1.0}
    return {**row, **values}


def measured(part: int, stage: str, number: int, ndcg: float, **directions: float) -> dict[str, Any]:
    named = {"ko->en": ndcg, "ko->en, no shared word": ndcg - 0.1, **directions}
    row = {"kind": "validation", "part": part, "stage": stage, "step": number, "ndcg": ndcg, "nonzeros": 100.0}
    return {**row, "directions": named}


RUN = [
    measured(0, "start", 0, 0.800),
    *(step(0, "mlm", n, loss=5.0 / n, labels=30) for n in (1, 11, 20)),
    *(step(1, "ranking", n, ranking=0.9, flops=40.0, **{"lambda": 1e-3 * n}, nonzeros=900.0) for n in (1, 11, 20)),
    measured(1, "ranking", 10, 0.815),
    measured(1, "ranking", 20, 0.812),
]


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are saved."""
    saved: list[Figure] = []

    def saving(figure: Figure, *rest: Any) -> None:
        saved.append(figure)
        style.save(figure, *rest)

    monkeypatch.setattr(curves, "save", saving)
    return saved


def lines(figure: Figure, panel: int) -> dict[str, Any]:
    return {str(line.get_label()): line for line in figure.axes[panel].get_lines()}


def test_flops_is_drawn_as_the_part_of_the_loss_that_it_is(figures: list[Figure], tmp_path: Path) -> None:
    draw_curves(RUN, tmp_path / "curves.png")
    shown = lines(figures[0], 0)
    assert list(shown[REGULARISATION].get_ydata()) == pytest.approx([0.04, 0.44, 0.8])
    assert "flops" not in shown and "lambda" not in shown and "ranking" in shown


def test_the_start_and_what_was_written_are_marked(figures: list[Figure], tmp_path: Path) -> None:
    draw_curves(RUN, tmp_path / "curves.png")
    shown = lines(figures[0], 1)
    assert shown["start: 0.800"].get_linestyle() == ":"
    assert list(shown["written: ranking step 10, 0.815"].get_xdata()) == [30]
    end = {"kind": "end", "best": {"stage": "start", "step": 0}}
    draw_curves([*RUN, end], tmp_path / "curves.png")
    assert "written: the start, 0.800" in lines(figures[1], 1)
    draw_curves(
        RUN, tmp_path / "curves.png", written={"stage": "ranking", "step": 20}
    )  # trained on validation: the last
    assert "written: ranking step 20, 0.812" in lines(figures[2], 1)


def test_a_subset_is_dashed_in_the_colour_of_its_direction(figures: list[Figure], tmp_path: Path) -> None:
    draw_curves(RUN, tmp_path / "curves.png")
    shown = lines(figures[0], 1)
    whole, part = shown["ko->en"], shown["ko->en, no shared word"]
    assert (whole.get_linestyle(), part.get_linestyle()) == ("-", "--") and whole.get_color() == part.get_color()


def test_noise_is_drawn_small(figures: list[Figure], tmp_path: Path) -> None:
    rows = [measured(0, "ranking", n, 0.8 + 0.001 * (n % 2)) for n in range(5)]
    for row in rows:
        row["directions"] = {"en->en": row["ndcg"]}
    draw_curves(rows, tmp_path / "curves.png")
    low, high = figures[0].axes[1].get_ylim()
    assert high - low >= 0.0999
    low, high = figures[0].axes[2].get_ylim()
    assert high / low >= 4


def test_the_learning_rate_has_its_own_panel(figures: list[Figure], tmp_path: Path) -> None:
    draw_curves(RUN, tmp_path / "curves.png")
    assert figures[0].axes[3].get_ylabel() == "learning\nrate" and figures[0].axes[3].get_lines()


AWKWARD: dict[str, list[dict[str, Any]]] = {
    "empty": [],
    "one step": [step(0, "ranking", 1)],
    "one measurement": [measured(0, "start", 0, 0.5)],
    "not a number": [
        step(0, "ranking", 1, loss=math.nan, gradient=None), step(0, "ranking", 2, loss=math.inf, nonzeros=0.0),
        measured(0, "ranking", 2, math.nan),
    ],
    "huge": [step(0, "ranking", 1, loss=1e300, nonzeros=1e12), step(0, "ranking", 2, loss=1e-300, nonzeros=1.0)],
    "huge penalty": [step(0, "ranking", 1, flops=1e300, **{"lambda": 1e300})],
    "zero": [step(0, "ranking", 1, loss=0.0, lr=0.0), measured(0, "ranking", 1, 0.0)],
    "Korean labels": [step(0, "순위 매기기", 1), measured(0, "순위 매기기", 1, 0.5, **{"한국어->영어": 0.4, "中->$": 0.3})],
    "many stages": [step(part, f"stage{part}", n) for part in range(8) for n in (1, 20)],
    "without directions": [{**measured(0, "ranking", 1, 0.5), "directions": {}}],
}  # fmt: skip


@pytest.mark.parametrize("look", ["light", "dark"])
@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_logs_are_drawn(name: str, look: str, tmp_path: Path) -> None:
    draw_curves(AWKWARD[name], tmp_path / "curves.png", look=look)  # a warning, as of a missing glyph, fails the test
    assert matplotlib.image.imread(tmp_path / "curves.png").shape == (1000, 1000, 4)
