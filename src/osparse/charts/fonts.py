"""Fonts that can draw the letters of a picture's labels, and what to write where none can."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import cache
from typing import Any

from osparse.plugins.extras import require

FALLBACK = "DejaVu Sans"
"""The font that matplotlib has with it; it has no Hangul."""
PREFERRED = (
    "Noto Sans CJK KR", "Noto Sans KR", "Pretendard", "NanumGothic", "Malgun Gothic", "Apple SD Gothic Neo",
    "AppleGothic", "UnDotum",
)  # fmt: skip
"""Fonts with Hangul that are made for screens; any other with Hangul is taken after them."""
NO_HANGUL = (
    "no installed font has Hangul, so Korean is written in Latin letters; install one, such as the package fonts-nanum"
)
HANGUL = "\uac00\ud788"
"""The first and the last syllable."""
_INITIALS = "g kk n d tt r m b pp s ss  j jj ch k t p h".split(" ")
_VOWELS = "a ae ya yae eo e yeo ye o wa wae oe yo u wo we wi yu eu ui i".split()
_FINALS = " k k ks n nj nh t l lk lm lp ls lt lp lh m p ps t t ng t t k t p t".split(" ")


def families() -> list[str]:
    """Names for matplotlib's ``font.family``: a font with Hangul where one is installed, and the fallback."""
    hangul = hangul_font()
    return [FALLBACK] if hangul is None else [FALLBACK, hangul]


def hangul_font() -> str | None:
    """Name of an installed font that has Hangul, the preferred ones first; None if there is none."""
    known = _font_with(HANGUL, tuple(sorted(_installed())))
    if known is not None or not _add_new_fonts():
        return known
    return _font_with(HANGUL, tuple(sorted(_installed())))


def drawable(text: str) -> str:
    """``text`` as the fonts can draw it: Hangul in Latin letters where none has it, "?" for other missing letters."""
    normal = unicodedata.normalize("NFC", text.replace("\n", " ")).replace("$", r"\$")
    known = _letters(tuple(families()), tuple(sorted(_installed())))
    return "".join(letter if ord(letter) in known else romanised(letter) for letter in normal)


def lacks_hangul(texts: Iterable[str]) -> bool:
    """Whether one of the texts has Hangul that no installed font can draw."""
    return hangul_font() is None and any("\uac00" <= letter <= "\ud7a3" for text in texts for letter in text)


def romanised(text: str) -> str:
    """Hangul syllables in Latin letters, each by itself (Revised Romanisation); other letters than ASCII become "?"."""
    return "".join(_syllable(letter) for letter in text)


def _syllable(letter: str) -> str:
    place = ord(letter) - 0xAC00
    if not 0 <= place < 11_172:
        return letter if letter.isascii() and letter.isprintable() else "?"
    return _INITIALS[place // 588] + _VOWELS[place % 588 // 28] + _FINALS[place % 28]


def _installed() -> dict[str, str]:
    """Name -> file of each font that matplotlib knows; Last Resort, which has a box for every letter, is left out."""
    manager: Any = require("matplotlib.font_manager", "corpus").fontManager
    return {font.name: font.fname for font in manager.ttflist if "Last Resort" not in font.name}


@cache
def _add_new_fonts() -> int:
    """Tell matplotlib of fonts with Hangul that were installed after it listed the fonts, once; returns how many."""
    font_manager = require("matplotlib.font_manager", "corpus")
    known, added = {*_installed().values()}, 0
    for path in sorted({*font_manager.findSystemFonts()} - known):
        if {ord(letter) for letter in HANGUL} <= _code_points(path):
            font_manager.fontManager.addfont(path)
            added += 1
    return added


@cache
def _font_with(letters: str, installed: tuple[str, ...]) -> str | None:
    """``installed`` is part of the key: a font that is added later is seen."""
    names = [*(name for name in PREFERRED if name in installed), *installed]
    needed = {ord(letter) for letter in letters}
    return next((name for name in names if needed <= _letters((name,), installed)), None)


@cache
def _letters(names: tuple[str, ...], installed: tuple[str, ...]) -> frozenset[int]:
    """Code points that the named fonts can draw."""
    files = _installed()
    return frozenset().union(*(_code_points(files[name]) for name in names if name in files))


def _code_points(path: str) -> frozenset[int]:
    """Code points that a font file can draw; none of a file that was removed, or cannot be read."""
    try:
        return frozenset(require("matplotlib.ft2font", "corpus").FT2Font(path).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()
