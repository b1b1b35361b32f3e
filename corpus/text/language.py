"""Hangul share, and the language guess made from it where a source does not say."""

from __future__ import annotations

HANGUL_SHARE = 0.3
"""Of the letters: at least this much and a text counts as Korean (Korean technical text is full of Latin names)."""

ASCII_SHARE = 0.9
"""Of the letters: at least this much and a text may be English."""


def is_hangul(character: str) -> bool:
    """A whole Hangul syllable, U+AC00 to U+D7A3."""
    return "가" <= character <= "힣"


def hangul_share(text: str) -> float:
    """Hangul syllables per letter, in [0, 1]; 0 where there are no letters."""
    letters = sum(character.isalpha() for character in text)
    return sum(map(is_hangul, text)) / letters if letters else 0.0


def ascii_share(text: str, without_letters: float = 0.0) -> float:
    """ASCII letters per letter, in [0, 1]; ``without_letters`` where there are none."""
    letters = [character for character in text if character.isalpha()]
    return sum(map(str.isascii, letters)) / len(letters) if letters else without_letters


def guess_language(text: str) -> str:
    """``ko`` from 30 % Hangul letters on, ``en`` where 90 % are ASCII, else ``und`` (BCP 47's "undetermined")."""
    if hangul_share(text) >= HANGUL_SHARE:
        return "ko"
    return "en" if ascii_share(text) >= ASCII_SHARE else "und"
