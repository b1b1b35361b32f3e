"""Hangul in pictures: matplotlib's own font has none, so an installed one is looked for."""

from __future__ import annotations

from osparse.plugins.extras import require

HANGUL_FONTS = (
    "Noto Sans CJK KR", "Noto Sans KR", "NanumGothic", "Malgun Gothic", "Apple SD Gothic Neo", "AppleGothic", "UnDotum",
)  # fmt: skip


def hangul_font() -> str | None:
    """Name of an installed font that has Hangul, the best first; None if there is none."""
    font_manager = require("matplotlib.font_manager", "corpus")
    there = {font.name for font in font_manager.fontManager.ttflist}
    return next((name for name in HANGUL_FONTS if name in there), None)


def label(text: str, place: int, font: str | None) -> str:
    """``text``, or "#place" where it has letters that no installed font can draw."""
    return text if font is not None or text.isascii() else f"#{place}"
