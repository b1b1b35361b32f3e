"""A text cut into overlapping pieces that the encoder reads whole, where no cluster cuts it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from osparse.encoders.onnx_encoder import read_tokenizer

SPARE = 8
"""Ids that a piece leaves free: cut out of its text, its first and last word may be tokenized otherwise."""
WORD = 32
"""Characters; how far the end of a piece is moved to a white space."""


class PieceCutter:
    """Thread-safe."""

    def __init__(self, archive: Path) -> None:
        """Args: archive: An encoder.onnx.zip, whose tokenizer tells how much a piece holds."""
        self._tokenizer, _, limit = read_tokenizer(archive)
        self._tokenizer.enable_truncation(limit - min(SPARE, limit // 8), stride=limit // 4)

    def cut(self, texts: Sequence[str]) -> list[list[str]]:
        """The pieces of each text, in order; one that fits is a piece by itself. A quarter of a piece is shared."""
        encodings = self._tokenizer.encode_batch(list(texts))
        pieces = list[list[str]]()
        for text, encoding in zip(texts, encodings, strict=True):
            spans = [_span(part.offsets) for part in (encoding, *encoding.overflowing)]
            made = [text[slice(*_whole_words(text, *span))] for span in spans] if encoding.overflowing else [text]
            pieces.append([piece for piece in made if piece.strip()] or [text])
        return pieces


def _span(offsets: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """First and last character; special tokens have none."""
    own = [(start, end) for start, end in offsets if end > start]
    return (own[0][0], own[-1][1]) if own else (0, 0)


def _whole_words(text: str, start: int, end: int) -> tuple[int, int]:
    """Without the part of a word at either end, which the piece before or after it has whole."""
    if start > 0 and not text[start - 1].isspace():
        start = next((i + 1 for i in range(start, min(end, start + WORD)) if text[i].isspace()), start)
    if end < len(text) and not text[end].isspace():
        end = next((i for i in range(end - 1, max(start, end - WORD), -1) if text[i].isspace()), end)
    return start, end
