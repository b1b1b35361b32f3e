"""The pictures' shared look: text that any font can draw, plain ticks, an axis on which noise looks like noise."""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib
import matplotlib.image
import pytest

from osparse.charts import fonts
from osparse.charts.style import THEMES, at_least_span, decade_ticks, new_figure, plain, save, say, theme
from osparse.errors import InputError


@pytest.mark.parametrize(
    ("text", "latin"),
    [
        ("한국어", "hangukeo"),
        ("올림픽 개막식", "olrimpik gaemaksik"),
        ("값", "gaps"),
        ("까치 wins", "kkachi wins"),
        ("ab-1", "ab-1"),
        ("中\u0007", "??"),
    ],
)
def test_hangul_is_written_in_latin_letters_syllable_by_syllable(text: str, latin: str) -> None:
    assert fonts.romanised(text) == latin


def test_every_syllable_has_letters() -> None:
    written = [fonts.romanised(chr(code)) for code in range(0xAC00, 0xD7A4)]
    assert len(written) == 11_172 and all(text.isascii() and text.isalpha() for text in written)


def test_a_font_with_hangul_is_used_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "hangul_font", lambda: None)
    assert fonts.families() == [fonts.FALLBACK] and fonts.lacks_hangul(["a", "배"]) and not fonts.lacks_hangul(["a"])
    assert fonts.drawable("배 tree") == "bae tree"
    monkeypatch.setattr(fonts, "hangul_font", lambda: "NanumGothic")
    monkeypatch.setattr(fonts, "_letters", lambda names, installed: frozenset(map(ord, "배 tre")))
    assert fonts.families() == [fonts.FALLBACK, "NanumGothic"] and not fonts.lacks_hangul(["배"])
    assert fonts.drawable("배 tree") == "배 tree"


def test_a_font_that_was_installed_after_matplotlib_listed_them_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """matplotlib keeps its list in a file, so that an installed fonts-nanum would stay unknown."""
    from matplotlib import font_manager

    letters = {"/new/hangul.ttf": frozenset(map(ord, fonts.HANGUL)), "/new/latin.ttf": frozenset(map(ord, "ab"))}
    listed, added = {"Latin": "/known/latin.ttf"}, list[str]()
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [*listed.values(), *letters])

    def add(path: str) -> None:
        added.append(path)
        listed["New"] = path

    monkeypatch.setattr(font_manager.fontManager, "addfont", add)
    monkeypatch.setattr(fonts, "_installed", lambda: dict(listed))
    monkeypatch.setattr(fonts, "_code_points", lambda path: letters.get(path, frozenset()))
    for cached in (fonts._add_new_fonts, fonts._font_with, fonts._letters):
        monkeypatch.setattr(fonts, cached.__name__, cached.__wrapped__)
    assert fonts.hangul_font() == "New" and added == ["/new/hangul.ttf"]


def test_a_logarithmic_axis_of_one_decade_has_several_numbers(tmp_path: Path) -> None:
    with theme("light"):
        figure = new_figure(4, 2)
        axes = figure.subplots()
        axes.set_xscale("log")
        axes.plot([15, 210], [0, 1])
        decade_ticks(axes.xaxis)
        save(figure, tmp_path / "a.png")
        low, high = axes.get_xlim()
        shown = [label.get_text() for label in axes.get_xticklabels() if low <= label.get_position()[0] <= high]
    assert shown == ["20", "50", "100", "200"]


def test_a_font_of_boxes_does_not_count() -> None:
    """Last Resort, which comes with matplotlib, has a glyph for every letter: a box with its block's name."""
    assert not any("Last Resort" in name for name in fonts._installed())


def test_a_dollar_sign_is_text_and_no_formula(tmp_path: Path) -> None:
    with theme("light") as look:
        figure = new_figure(2, 1)
        say(figure.subplots(), "costs $5 or $x_{$", look)
        save(figure, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (0.25, "0.25"), (12, "12"), (2000, "2,000"), (1e6, "1,000,000"), (3e9, "3e9"), (1e-6, "1e-6"),
     (math.nan, ""), (math.inf, ""), (-5, "-5")],
)  # fmt: skip
def test_ticks_are_plain(value: float, shown: str) -> None:
    assert plain(value) == shown


@pytest.mark.parametrize(
    ("shown", "axis"),
    [((0.5, 0.51), (0.455, 0.555)), ((0.99, 1.0), (0.92, 1.02)), ((0.0, 0.01), (0.0, 0.1)), ((0.2, 0.9), (0.2, 0.9))],
)
def test_an_axis_has_a_least_span_within_its_limits(shown: tuple[float, float], axis: tuple[float, float]) -> None:
    with theme("light"):
        axes = new_figure(2, 2).subplots()
        axes.set_ylim(*shown)
        at_least_span(axes, 0.1, low=0.0, high=1.02)
        assert axes.get_ylim() == pytest.approx(axis, abs=0.006)
        assert axes.get_ylim()[1] - axes.get_ylim()[0] >= 0.1 - 1e-9


@pytest.mark.parametrize("name", THEMES)
def test_a_theme_colours_the_page_and_leaves_matplotlib_as_it_was(name: str, tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    with theme(name) as look:
        figure = new_figure(1, 1)
        figure.subplots()
        save(figure, tmp_path / "page.png")
    corner = matplotlib.image.imread(tmp_path / "page.png")[0, 0, :3]
    assert matplotlib.colors.to_hex(tuple(corner.tolist())) == look.page
    assert dict(matplotlib.rcParams) == before


def test_another_theme_is_refused() -> None:
    with pytest.raises(InputError, match="`look` must be one of light, dark, got 'sepia'"), theme("sepia"):
        pass
