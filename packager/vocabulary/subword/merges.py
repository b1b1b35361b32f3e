"""The merges of a byte pair encoding: what a token is built from, and which of them are left with fewer tokens."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any


class Merges:
    """Merges by falling priority.

    The merges inside of a token are those of the token alone, whatever stands beside it: had a merge across its edge
    been chosen, it would not have become a token.
    """

    def __init__(self, rows: Sequence[Any], prefix: str = "") -> None:
        """``rows`` as tokenizer.json has them, "a b" or ["a", "b"]; ``prefix`` marks what continues a word."""
        self._rows = list(rows)
        self._pairs = [_pair(row) for row in self._rows]
        self._cut = len(prefix)
        self._rank: dict[tuple[str, str], int] = {}
        self._parts: dict[str, tuple[str, str]] = {}
        for rank, pair in enumerate(self._pairs):
            self._rank[pair] = rank  # the last of two equal merges counts, as in the library
            self._parts.setdefault(self._joined(*pair), pair)

    def ancestors(self, token: str) -> frozenset[str]:
        """Every token on the way to ``token``, without itself; empty where no merges lead to it."""
        symbols = self._symbols(token)
        met = set(symbols)
        while len(symbols) > 1:
            ranks = [self._rank.get(pair, len(self._pairs)) for pair in zip(symbols, symbols[1:], strict=False)]
            best = min(ranks)
            if best == len(self._pairs):
                return frozenset()
            at = ranks.index(best)
            symbols[at : at + 2] = [self._joined(*symbols[at : at + 2])]
            met.add(symbols[at])
        return frozenset(met - {token})

    def among(self, tokens: Collection[str]) -> list[Any]:
        """The merges whose parts and product are among ``tokens``, in order, as they were given."""
        return [
            row
            for row, (left, right) in zip(self._rows, self._pairs, strict=True)
            if left in tokens and right in tokens and self._joined(left, right) in tokens
        ]

    def _joined(self, left: str, right: str) -> str:
        return left + right[self._cut :]

    def _symbols(self, token: str) -> list[str]:
        """The characters that the merges of ``token`` start from, with their marks."""
        whole, symbols = [token], []
        while whole:
            part = whole.pop()
            if part in self._parts and part not in self._parts[part]:
                whole += reversed(self._parts[part])
            else:
                symbols.append(part)
        return symbols


def _pair(row: Any) -> tuple[str, str]:
    left, right = row.split(" ", 1) if isinstance(row, str) else row
    return str(left), str(right)
