"""The data that the page holds as JSON: queries, documents and tokens, each written once, within a limit of bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from osparse.retrieval.html_report.cards import Card, Document

LIMIT = 4_700_000
"""Bytes of the embedded data; the page around it has less than 0.2 MB, so the file is below 5 MB."""
TEXT = 180
"""Characters shown of a document."""
TOKENS = 10
"""Matched tokens shown of a document."""


class Embedded:
    """Takes cards, the most telling first; when it is full the others get one line without their hits, then none."""

    def __init__(self, directions: Sequence[str], limit: int = LIMIT) -> None:
        self._directions = list(directions)
        self._limit, self._bytes = limit, 0
        self._documents: dict[str, int] = {}
        self._document_rows: list[list[str]] = []
        self._tokens: dict[str, int] = {}
        self.queries: list[dict[str, Any]] = []
        self.without_hits = 0
        """Queries that are listed by their figures only."""
        self.left_out = 0

    def add(self, cards: Iterable[Card]) -> None:
        for card in cards:
            if self._bytes + _worst_case(card) <= self._limit * 0.92:
                self._append(self._row(card))
            elif self._bytes + len(card.outcome.text.encode()) + 200 <= self._limit:
                self.without_hits += 1
                self._append(self._line(card))
            else:
                self.left_out += 1

    def to_json(self, more: Mapping[str, Any]) -> str:
        """For a script element: no ``<`` stands in it, so that no text can end the element."""
        data = {
            **more,
            "directions": self._directions,
            "documents": self._document_rows,
            "tokens": list(self._tokens),
            "queries": self.queries,
        }
        return _compact(data)

    def _append(self, row: dict[str, Any]) -> None:
        self.queries.append(row)
        self._bytes += _size(row)

    def _line(self, card: Card) -> dict[str, Any]:
        outcome = card.outcome
        return {
            "id": outcome.id,
            "text": outcome.text,
            "direction": self._directions.index(outcome.direction),
            "values": [_short(outcome.value), _short(outcome.baseline_value)],
        }

    def _row(self, card: Card) -> dict[str, Any]:
        row = {
            **self._line(card),
            "weights": self._pairs(sorted(card.weights.items(), key=lambda pair: -pair[1])[:TOKENS]),
            "hits": [self._hit(document) for document in card.hits],
            "baseline": [self._hit(document) for document in card.baseline_hits],
            "answers": [self._hit(document) for document in card.answers],
        }
        if card.reason is not None:
            row |= {"kind": card.reason.kind, "reason": card.reason.text}
            row |= {"contrast": self._pairs(card.reason.contrast[:TOKENS])} if card.reason.contrast else {}
            if card.reason.needed:
                row["needed"] = [
                    [self._token(n.token), _short(n.query_weight), _short(n.weight), n.rank]
                    for n in card.reason.needed[:TOKENS]
                ]
            if card.reason.cut is not None:
                cut = card.reason.cut
                row["cut"] = [cut.max_length, cut.tokens, _start(cut.lost_text)]
        return row

    def _hit(self, document: Document) -> list[Any]:
        matched = [[self._token(t), _short(c), int(own)] for t, c, own in document.matched[:TOKENS]]
        return [
            self._document(document), _short(document.score), document.grade, document.rank, document.baseline_rank,
            matched, document.words[:TOKENS], self._pairs(document.expansions),
        ]  # fmt: skip

    def _pairs(self, pairs: Iterable[tuple[str, float]]) -> list[list[float | None]]:
        return [[self._token(token), _short(weight)] for token, weight in pairs]

    def _document(self, document: Document) -> int:
        if document.id not in self._documents:
            self._documents[document.id] = len(self._documents)
            self._document_rows.append([document.id, document.lang, _start(document.text)])
            self._bytes += _size(self._document_rows[-1])
        return self._documents[document.id]

    def _token(self, token: str) -> int:
        if token not in self._tokens:
            self._tokens[token] = len(self._tokens)
            self._bytes += _size(token)
        return self._tokens[token]


def _worst_case(card: Card) -> int:
    """Bytes that a card can take at most, when all its documents and tokens are new."""
    documents = [*card.hits, *card.baseline_hits, *card.answers]
    texts = sum(len(document.text[:TEXT].encode()) + len(document.id) for document in documents)
    return 4000 + texts + 3 * len(card.outcome.text.encode())


def _start(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= TEXT else line[: TEXT - 1] + "\u2026"


def _short(value: float | None) -> float | None:
    """Four significant digits."""
    return None if value is None else float(f"{value:.4g}")


def _size(value: Any) -> int:
    return len(_compact(value).encode()) + 1


def _compact(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")
