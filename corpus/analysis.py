"""Text -> terms for BM25: lower-cased words, and overlapping syllable pairs of Hangul runs.

Korean words carry their particles, so whole words rarely meet; bigrams of syllables are the standard remedy where there
is no morphological analyser (Lucene's CJKAnalyzer does the same).
"""

from __future__ import annotations

import re
import unicodedata

_RUN = re.compile(r"[가-힣]+|[^\W_가-힣]+")


def terms(text: str) -> list[str]:
    """In order, with repetitions; NFC first, so that decomposed Hangul counts too."""
    found: list[str] = []
    for run in _RUN.findall(unicodedata.normalize("NFC", text).lower()):
        if "가" <= run[0] <= "힣" and len(run) > 2:
            found += [run[i : i + 2] for i in range(len(run) - 1)]
        else:
            found.append(run)
    return found
