"""Known-item queries: words of a document ask for the document, so that nobody has to judge the answer.

Source: Azzopardi, de Rijke and Balog, Building Simulated Queries for Known-Item Topics, SIGIR 2007.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from osparse.algorithms.words import words

SHORTEST, LONGEST = 5, 30
"""Words of a sentence that is a question."""
MOST_CHARACTERS = 200
_END = re.compile(r"(?<=[.!?。])\s+|\n+")


@dataclass(frozen=True)
class Text:
    """A document that queries are made from."""

    id: str
    text: str
    lang: str


@dataclass(frozen=True)
class KnownItem:
    """A query and the one document that it was taken from."""

    query: str
    document: str
    lang: str
    """Of the document, and so of the query."""


def sentences(text: str) -> Iterator[str]:
    """The sentences of a text that can stand as a question; a line's end ends a sentence."""
    for part in _END.split(text):
        sentence = " ".join(part.split())
        if len(sentence) <= MOST_CHARACTERS and SHORTEST <= len(words(sentence)) <= LONGEST:
            yield sentence


def known_items(documents: Iterable[Text], per_document: int = 1) -> list[KnownItem]:
    """Sentences that stand in one document only, at most so many of each, in an order that does not depend on theirs.

    Which sentences of a document are taken is drawn by their hash, so that equal documents give equal queries.
    """
    texts = list(documents)
    found = [list(dict.fromkeys(sentences(document.text))) for document in texts]
    count = Counter(sentence for of_document in found for sentence in of_document)
    items = [
        KnownItem(sentence, document.id, document.lang)
        for document, of_document in zip(texts, found, strict=True)
        for sentence in sorted((s for s in of_document if count[s] == 1), key=_draw)[:per_document]
    ]
    return sorted(items, key=lambda item: _draw(item.query))


def _draw(text: str) -> bytes:
    return hashlib.md5(text.encode(), usedforsecurity=False).digest()
