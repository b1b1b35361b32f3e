"""The words of a document's text that a query matched, marked in short fragments; expansions are listed apart."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from osparse.formula.query_encoder import QueryEncoder

MARKS = ("<em>", "</em>")
AROUND = 70
"""Characters shown on either side of a matched word, at least."""
FRAGMENTS = 3


@dataclass(frozen=True)
class Highlights:
    fragments: list[str]
    """Parts of the text in its order, matched words between :data:`MARKS`; those of the largest contributions."""
    expansions: list[str]
    """Matched tokens that are not in the text, by falling contribution: the encoder added them."""


@dataclass(frozen=True)
class _Word:
    start: int
    end: int
    contribution: float


def highlights(encoder: QueryEncoder, text: str, contributions: Mapping[str, float]) -> Highlights:
    """Mark the words of ``text`` that hold a matched token.

    Args:
        contributions: Matched token -> what it adds to the score, by falling contribution.
    """
    spans = encoder.spans(text)
    words = _matched_words(text, [(start, end, contributions.get(token)) for token, start, end in spans])
    in_text = {token for token, _, _ in spans}
    fragments = [_marked(text, bounds, words) for bounds in sorted(_chosen(text, words))]
    return Highlights(fragments, [token for token in contributions if token not in in_text])


def _matched_words(text: str, spans: Sequence[tuple[int, int, float | None]]) -> list[_Word]:
    """Runs of tokens without a gap between them are one word, marked whole if any of its tokens matched."""
    words, run = list[_Word](), list[tuple[int, int, float | None]]()
    for span in (*spans, (len(text) + 2, len(text) + 2, None)):
        if run and span[0] > run[-1][1]:
            matched = [amount for _, _, amount in run if amount is not None]
            if matched:
                start, end = run[0][0], run[-1][1]
                start += len(text[start:end]) - len(text[start:end].lstrip())  # SentencePiece counts the space before
                words.append(_Word(start, end, sum(matched)))
            run = []
        run.append(span)
    return words


def _chosen(text: str, words: Sequence[_Word]) -> list[tuple[int, int]]:
    """(start, end) of the fragments around the words that contribute most."""
    bounds = list[tuple[int, int]]()
    for word in sorted(words, key=lambda word: (-word.contribution, word.start)):
        if len(bounds) < FRAGMENTS and not any(start <= word.start and word.end <= end for start, end in bounds):
            start, end = _whole_words(text, word.start - AROUND, word.end + AROUND)
            start = max([start, *(other for _, other in bounds if other <= word.start)])
            end = min([end, *(other for other, _ in bounds if other >= word.end)])
            bounds.append((start, end))
    return bounds


def _whole_words(text: str, start: int, end: int) -> tuple[int, int]:
    """Narrowed to whole words where it cuts one."""
    if start > 0:
        space = re.search(r"\s", text[start : start + AROUND])
        start += space.end() if space is not None else 0
    if end < len(text):
        end = max(text.rfind(" ", end - AROUND, end), end - AROUND) if " " in text[end - AROUND : end] else end
    return max(start, 0), min(end, len(text))


def _marked(text: str, bounds: tuple[int, int], words: Sequence[_Word]) -> str:
    start, end = bounds
    shown, at = list[str](), start
    for word in words:
        if start <= word.start and word.end <= end:
            shown += [text[at : word.start], MARKS[0], text[word.start : word.end], MARKS[1]]
            at = word.end
    whole = " ".join("".join([*shown, text[at:end]]).split())
    return ("\u2026" if start > 0 else "") + whole + ("\u2026" if end < len(text) else "")
