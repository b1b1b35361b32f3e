"""Texts for the reference check: the probes, and random ones in many scripts, mixed case, accents, and over-long."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from osparse.packager.compare.probes import TEXTS

RANDOM = 24
"""Short random texts."""
LONG = 3
"""Random texts past every truncation."""
LONG_WORDS = 700
SCRIPTS = (
    "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "àéîõüçñşğåøæßİıŁžŻ", "ΑΒΓΔΣΩαβγδσςωάέ",
    "АБВГДЖЯабвгджяёЁ",
    "가나다라마바사아자차카타파하", "日本語中文漢字", "ぁあいうカキク", "ابتثجح", "कखगघनमस", "กขคงจ", "0123456789",
    ".,;:!?-_()/+#@&%", "🍐🙂👍",
    "e\u0301o\u0308N\u0303", "ＡＢｃ１２",
)  # fmt: skip
"""Characters that random words are made of, one line a script."""


def reference_texts(tokens: Sequence[str], seed: int = 0) -> list[str]:
    """Texts of random words of many scripts and of the vocabulary's own words; ``tokens`` are its ordinary tokens."""
    random = np.random.default_rng(seed)
    words = sorted({token.lstrip("#▁Ġ") for token in tokens} - {""}) or ["a"]
    short = [_text(random, words, int(random.integers(1, 16))) for _ in range(RANDOM)]
    return [*(text for _, text in TEXTS), *short, *(_text(random, words, LONG_WORDS) for _ in range(LONG))]


def _text(random: np.random.Generator, words: Sequence[str], length: int) -> str:
    made = [_word(random) if random.random() < 0.4 else words[int(random.integers(len(words)))] for _ in range(length)]
    return "".join(_cased(random, word) + str(random.choice([" ", " ", " ", "  ", "\n", ", "])) for word in made)


def _word(random: np.random.Generator) -> str:
    script = SCRIPTS[int(random.integers(len(SCRIPTS)))]
    return "".join(script[int(i)] for i in random.integers(len(script), size=int(random.integers(1, 7))))


def _cased(random: np.random.Generator, word: str) -> str:
    return [word, word.upper(), word.title(), word.lower()][int(random.integers(4))]
