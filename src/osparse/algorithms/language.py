"""The language of a text whose source does not name it, detected from its letters."""

from __future__ import annotations

import re
from collections.abc import Mapping

UNDETERMINED = "und"
"""BCP 47's tag of a text whose language is not known."""

DETECTED = ("ko", "ja", "en")
"""What :func:`guess_language` tells apart."""

HANGUL_SHARE = 0.3
"""Of the letters: at least this much and a text counts as Korean (Korean technical text is full of Latin names)."""

KANA_SHARE = 0.1
"""Of the letters: at least this much and a text counts as Japanese; Japanese text is mostly kana, no other has any."""

ASCII_SHARE = 0.9
"""Of the letters: at least this much and a text may be English."""

KOREAN_WORDS = 4
"""An English text has at least so many words for each Korean one, or 3 and as many function words as Korean words."""

_WORD = re.compile(r"[^\W\d_]+")
_FUNCTION_WORDS = frozenset(
    "a an the of in on at to for from by with and or is are was were be do does did how what who where when why which "
    "can that this it my your i you not about as near between".split()
)

DOMINANT_SHARE = 0.9
"""Of a source's texts with a detected language: at least this much and it is the language of the others too."""


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
    """``ko``, ``ja`` or ``en``, else :data:`UNDETERMINED`.

    ``ko`` where 30 % of the letters are Hangul, or where all but 10 % are Hangul and ASCII; ``ja`` where 10 % are kana;
    ``en`` where 90 % are ASCII, and where a text that would be ``ko`` has few Korean words among its English ones: the
    name in "where is 경복궁". Korean words are what a Hangul syllable is in: each says more than a Latin letter does.
    """
    letters = [character for character in text if character.isalpha()]
    if not letters:
        return UNDETERMINED
    hangul = sum(map(is_hangul, letters)) / len(letters)
    ascii_letters = sum(map(str.isascii, letters)) / len(letters)
    if hangul >= HANGUL_SHARE:
        return "en" if hangul + ascii_letters >= ASCII_SHARE and _is_english_with_names(text) else "ko"
    if sum("\u3041" <= letter <= "\u30ff" for letter in letters) / len(letters) >= KANA_SHARE:
        return "ja"
    if ascii_letters >= ASCII_SHARE:
        return "en"
    if hangul + ascii_letters < ASCII_SHARE:
        return UNDETERMINED
    return "en" if _is_english_with_names(text) else "ko"


def _is_english_with_names(text: str) -> bool:
    """Whether Korean words are names in an English text; a word of both scripts ("JSON을") is Korean grammar."""
    words = _WORD.findall(text.lower())
    korean = [word for word in words if any(map(is_hangul, word))]
    if any(character.isascii() for word in korean for character in word):
        return False
    grammar = sum(word in _FUNCTION_WORDS for word in words)
    fewest = KOREAN_WORDS - 1 if grammar >= len(korean) else KOREAN_WORDS
    return len(words) >= fewest * len(korean)


def settle_guesses(texts: Mapping[str, int]) -> dict[str, str]:
    """Guessed language -> language, of the texts of one source.

    A text whose language cannot be detected (a part number, a formula) has that of the other texts where these agree.
    Where most texts cannot be detected, the source is in a language that is not known here, and so are the few texts
    of it that happen to be written in ASCII.

    Args:
        texts: Guessed language, :data:`UNDETERMINED` included -> number of texts.
    """
    detected = {lang: count for lang, count in texts.items() if lang != UNDETERMINED}
    total = sum(detected.values())
    settled = {lang: lang for lang in texts}
    if texts.get(UNDETERMINED, 0) > total:
        return settled | ({"en": UNDETERMINED} if "en" in settled else {})
    most = max(detected, key=lambda lang: (detected[lang], lang), default=UNDETERMINED)
    if UNDETERMINED in settled and detected.get(most, 0) >= DOMINANT_SHARE * total:
        settled[UNDETERMINED] = most
    return settled
