"""What the page shows of one query: the first hits of both systems, the answers, their tokens, and the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial

import polars as pl

from osparse.encoders.onnx_unpruned import UnprunedEncoder
from osparse.evaluation.measures import Benchmark
from osparse.io.progress import progress
from osparse.retrieval.html_report.baseline_words import WordMatcher
from osparse.retrieval.html_report.outcomes import Outcome, Ranking
from osparse.retrieval.html_report.reasons import Reason, why_lost, why_won
from osparse.retrieval.html_report.weight_source import WeightSource
from osparse.retrieval.serving.matches import matches

HITS, ANSWERS, EXPANSIONS = 3, 2, 8
"""Shown of one query: hits of each system, answers, and expansions of each first hit of a full card."""
BATCH = 250
"""Queries whose documents are held in memory together."""
ENCODED = 60
"""Lost queries whose answers are encoded again, to know the ranks of missing tokens before pruning."""


@dataclass(frozen=True)
class Document:
    """One document as it answers one query."""

    id: str
    lang: str
    text: str
    score: float | None
    """By the system that ranked it; None of an answer."""
    grade: int
    """Of its judgement; 0 where it is not relevant or not judged."""
    rank: int | None
    baseline_rank: int | None
    matched: list[tuple[str, float, bool]]
    """(token, contribution to the score, whether the token is in its text), by falling contribution."""
    words: list[str]
    """That the baseline matches."""
    expansions: list[tuple[str, float]] = field(default_factory=list)
    """Its largest weights on tokens that are not in its text; of first hits of full cards only."""


@dataclass(frozen=True)
class Card:
    """One query with everything that is shown of it."""

    outcome: Outcome
    weights: dict[str, float]
    """Raw token -> query weight."""
    hits: list[Document]
    baseline_hits: list[Document]
    answers: list[Document]
    reason: Reason | None
    """None where both systems do equally well."""


@dataclass(frozen=True)
class CardMaker:
    """Makes cards from outcomes, a batch at a time."""

    data: Benchmark
    source: WeightSource
    matcher: WordMatcher
    encoder: UnprunedEncoder | None

    def cards(self, outcomes: Sequence[Outcome], full: int) -> Iterator[Card]:
        """In the order given; the first lost ones get the ranks of missing tokens too.

        Args:
            full: So many cards, from the first on, have the other expansions of their first hits.
        """
        with_expansions = {id(outcome) for outcome in outcomes[:full]}
        encoded = {id(outcome) for outcome in [outcome for outcome in outcomes if outcome.gain < 0][:ENCODED]}
        with progress("explain queries", len(outcomes), "queries") as bar:
            for start in range(0, len(outcomes), BATCH):
                batch = outcomes[start : start + BATCH]
                asked = {id(outcome): _documents(outcome) for outcome in batch}
                ids = frozenset(document for shown in asked.values() for document in shown)
                texts, langs = self._texts(ids)
                self.source.load(ids)
                words = self.matcher.matched([(outcome, asked[id(outcome)]) for outcome in batch], texts)
                tokens_of = cache(partial(self._literal, texts))
                for outcome in batch:
                    expansions = EXPANSIONS if id(outcome) in with_expansions else 0
                    view = _View(self.source, texts, langs, words, tokens_of, outcome, expansions)
                    yield self._card(view, id(outcome) in encoded)
                    bar.advance()

    def _card(self, view: _View, encode: bool) -> Card:
        outcome, reason = view.outcome, None
        if outcome.gain < 0:
            reason = why_lost(outcome, self.source, view.texts, self.encoder if encode else None)
        elif outcome.gain > 0:
            answer = min(outcome.answers, key=lambda a: (outcome.rank(a) or len(outcome.ranking) + 1, a))
            reason = why_won(outcome, self.source, view.tokens_of(answer), view.words.get((outcome.id, answer), []))
        return Card(
            outcome=outcome,
            weights=view.query,
            hits=view.hits(outcome.ranking),
            baseline_hits=view.hits(outcome.baseline_ranking),
            answers=[view.document(answer, None, first=False) for answer in _answers(outcome)],
            reason=reason,
        )

    def _texts(self, ids: frozenset[str]) -> tuple[dict[str, str], dict[str, str]]:
        """Texts and languages by document id."""
        rows = self.data.documents.filter(pl.col("id").is_in(sorted(ids))).select("id", "text", "lang").collect()
        texts, langs = {}, {}
        for document, text, lang in rows.iter_rows():
            texts[document], langs[document] = text, lang
        return texts, langs

    def _literal(self, texts: Mapping[str, str], document_id: str) -> frozenset[str]:
        """Tokens of a document's own text."""
        return frozenset(self.source.encoder.encode(texts.get(document_id, "")))


class _View:
    """Documents as one query sees them."""

    def __init__(
        self,
        source: WeightSource,
        texts: Mapping[str, str],
        langs: Mapping[str, str],
        words: Mapping[tuple[str, str], list[str]],
        tokens_of: Callable[[str], frozenset[str]],
        outcome: Outcome,
        expansions: int,
    ) -> None:
        self.outcome, self.texts, self.words, self.tokens_of = outcome, texts, words, tokens_of
        self._source, self._langs, self._expansions = source, langs, expansions
        self.query = source.query(outcome.text)

    def hits(self, ranking: Ranking) -> list[Document]:
        return [self.document(i, score, first=place == 0) for place, (i, score) in enumerate(ranking[:HITS])]

    def document(self, document_id: str, score: float | None, *, first: bool) -> Document:
        weights = self._source.document(document_id, self.query) or {}
        literal, outcome = self.tokens_of(document_id), self.outcome
        others = [(token, weight) for token, weight in weights.items() if token not in literal]
        return Document(
            id=document_id,
            lang=self._langs.get(document_id, ""),
            text=self.texts.get(document_id, ""),
            score=score,
            grade=outcome.answers.get(document_id, 0),
            rank=outcome.rank(document_id),
            baseline_rank=outcome.baseline_rank(document_id),
            matched=[(m.token, m.contribution, m.token in literal) for m in matches(self.query, weights)],
            words=self.words.get((outcome.id, document_id), []),
            expansions=sorted(others, key=lambda pair: (-pair[1], pair[0]))[: self._expansions] if first else [],
        )


def _documents(outcome: Outcome) -> list[str]:
    """Everything that is shown of a query, and what its reason looks at."""
    hits = [i for ranking in (outcome.ranking, outcome.baseline_ranking) for i, _ in ranking[:HITS]]
    return list(dict.fromkeys([*hits, *outcome.answers]))


def _answers(outcome: Outcome) -> list[str]:
    """Those that either system ranks best."""

    def place(answer: str) -> tuple[float, int, str]:
        ranks = [rank for rank in (outcome.rank(answer), outcome.baseline_rank(answer)) if rank is not None]
        return min(ranks, default=10**9), -outcome.answers[answer], answer

    return sorted(outcome.answers, key=place)[:ANSWERS]
