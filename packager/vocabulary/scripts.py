"""Scripts of letters, and those a corpus is written in."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping
from functools import cache

LEAST = 0.001
"""Of a corpus' letters: at least this share, and the corpus is written in their script, among others."""


@cache
def script_of(character: str) -> str | None:
    """LATIN, HANGUL, CJK, ...: the first word of a letter's name in Unicode; None for what is no letter."""
    return unicodedata.name(character, "").partition(" ")[0] or None if character.isalpha() else None


def scripts_of(text: str) -> frozenset[str]:
    """Scripts of a text's letters."""
    return frozenset(script for character in text if (script := script_of(character)))


def main_scripts(characters: Mapping[str, int]) -> frozenset[str]:
    """Scripts of a corpus, from how often it has each character; a stray foreign word makes none."""
    counts: Counter[str] = Counter()
    for character, count in characters.items():
        if script := script_of(character):
            counts[script] += count
    return frozenset(script for script, count in counts.items() if count >= LEAST * counts.total())
