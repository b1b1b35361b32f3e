"""What a word is: a run of Hangul, or a run of any other letters and digits, in NFC and lower case."""

from __future__ import annotations

import re
import unicodedata

WORD = re.compile(r"[가-힣]+|[^\W_가-힣]+")
"""Over normalised text."""


def normalised(text: str) -> str:
    """NFC, so that decomposed Hangul and accents count too, and lower-cased."""
    return unicodedata.normalize("NFC", text).lower()


def words(text: str) -> list[str]:
    """In order, with repetitions; Korean ones with their particles."""
    return WORD.findall(normalised(text))
