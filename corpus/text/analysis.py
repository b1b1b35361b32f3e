"""Text -> terms for BM25, and words for counting and comparing: runs of Hangul, and of any other letters and digits.

Korean words carry their particles, so whole words rarely meet. For BM25 overlapping syllable pairs are the standard
remedy where there is no morphological analyser (Lucene's CJKAnalyzer does the same); a word loses its particle.
"""

from __future__ import annotations

from osparse.algorithms.words import WORD, normalised
from osparse.algorithms.words import words as runs

PARTICLES = tuple("에서는 으로는 에서 으로 에게 까지 부터 하고 은 는 이 가 을 를 의 에 로 와 과 도 만".split())
"""Cut off a Korean word of which at least two syllables stay, so that one word's forms count together."""


def terms(text: str) -> list[str]:
    """In order, with repetitions."""
    grams: list[str] = []
    for run in runs(text):
        if "가" <= run[0] <= "힣" and len(run) > 2:
            grams += [run[i : i + 2] for i in range(len(run) - 1)]
        else:
            grams.append(run)
    return grams


def words(text: str) -> list[str]:
    """Lower-cased words in order; Korean ones without their particle."""
    return [stem(run) for run in runs(text)]


def word_spans(text: str) -> list[tuple[str, int, int]]:
    """:func:`words` with their first character and end; a cut-off particle stays out of the span.

    Nothing where normalising changes the text's length: the places would not be the text's.
    """
    lowered = normalised(text)
    if len(lowered) != len(text):
        return []
    return [(word, m.start(), m.start() + len(word)) for m in WORD.finditer(lowered) for word in [stem(m.group())]]


def stem(word: str) -> str:
    """A Korean word without its particle; any other as it is."""
    if "가" <= word[0] <= "힣":
        for particle in PARTICLES:
            if word.endswith(particle) and len(word) >= len(particle) + 2:
                return word[: -len(particle)]
    return word
