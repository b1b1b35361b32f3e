"""Taking a query's words out of the text that answers it, so that matching words alone does not solve the task."""

from __future__ import annotations

import re

from osparse.algorithms.words import normalised, words


def mask_title(title: str, text: str) -> str:
    """``text`` without the title where it stands word for word (a Korean particle may follow); case is ignored."""
    pattern = r"(?<!\w)" + r"\s+".join(map(re.escape, title.split()))
    if title[-1:].isascii():
        pattern += r"(?!\w)"  # an English title is not cut out of a longer word
    without = re.sub(pattern, " ", text, flags=re.IGNORECASE)
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in without.split("\n\n")).strip()


def overlap(query: str, text: str) -> float:
    """Share of the query's words that the text holds, as parts of words too (Korean particles), within [0, 1]."""
    query_words = set(words(query))
    lowered = normalised(text)
    return sum(word in lowered for word in query_words) / len(query_words) if query_words else 0.0
