"""Query weights: a text is tokenised and looked up in the IDF table; no model is called."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

from osparse.formula.head import SERVER_MAX_TOKENS
from osparse.formula.lexicon import Lexicon, read_idf


class QueryEncoder:
    """Text -> {raw token: weight} by tokenizer and IDF alone, as SPARSE_TOKENIZE does on the server."""

    def __init__(self, tokenizer: Tokenizer, lexicon: Lexicon, *, max_length: int = SERVER_MAX_TOKENS) -> None:
        self.lexicon = lexicon
        self._tokenizer = tokenizer
        self._max_length = min(max_length, SERVER_MAX_TOKENS)
        self._tokenizer.enable_truncation(self._max_length)
        self._special = frozenset(lexicon.special_ids)

    def reweighted(self, idf: Path) -> QueryEncoder:
        """The same tokenizer with another idf.json; raises :class:`ModelError` if that is of another vocabulary."""
        known = self.lexicon
        lexicon = Lexicon.build(known.tokens, known.special_ids, read_idf(idf), source=str(idf))
        return QueryEncoder(self._tokenizer, lexicon, max_length=self._max_length)

    def ids(self, text: str) -> list[int]:
        """Distinct non-special ids in order of first appearance."""
        return [i for i in dict.fromkeys(self._tokenizer.encode(text).ids) if i not in self._special]

    def cuts(self, text: str) -> bool:
        """Whether the text is longer than the tokenizer's limit, so that its end is left out."""
        return bool(self._tokenizer.encode(text).overflowing)

    def encode(self, text: str) -> dict[str, float]:
        return {self.lexicon.tokens[i]: float(self.lexicon.idf[i]) for i in self.ids(text)}

    def count_unknown(self, text: str) -> tuple[int, int]:
        """Tokens of a text, and how many of them have no weight: out of the vocabulary, or of weight 0."""
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        return len(ids), sum(i in self._special or not self.lexicon.idf[i] > 0 for i in ids)

    def spans(self, text: str) -> list[tuple[str, int, int]]:
        """(token, start, end) of every non-special token of a text of any length; start and end count characters."""
        first = self._tokenizer.encode(text)
        pieces = [pair for part in (first, *first.overflowing) for pair in zip(part.ids, part.offsets, strict=True)]
        return [(self.lexicon.tokens[i], start, end) for i, (start, end) in pieces if i not in self._special]
