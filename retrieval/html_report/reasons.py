"""Why a query was lost or won, as one sentence and the tokens behind it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from osparse.encoders.onnx_unpruned import UnprunedEncoder
from osparse.retrieval.html_report.outcomes import Outcome
from osparse.retrieval.html_report.weight_source import WeightSource
from osparse.retrieval.serving.matches import matches
from osparse.retrieval.why_not import Cut, NeededExpansion, cut_part, needed_expansions

NAMED = 3
"""Tokens that a sentence names."""


@dataclass(frozen=True)
class Reason:
    """Why the answer is where it is."""

    kind: str
    """"not indexed", "filtered", "no known token", "no shared token", "cut", "outranked" or "won"."""
    text: str
    answer: str
    """The relevant document that it is about."""
    needed: list[NeededExpansion] = field(default_factory=list)
    """Query tokens that the answer lacks."""
    contrast: list[tuple[str, float]] = field(default_factory=list)
    """(token, what it brings the first hit more than the answer), by falling size."""
    cut: Cut | None = None


def why_lost(
    outcome: Outcome, source: WeightSource, texts: Mapping[str, str], encoder: UnprunedEncoder | None
) -> Reason:
    """Why the system does worse on this query than the baseline.

    Args:
        source: With the query's answers and first hit loaded.
        texts: Document id -> text.
        encoder: Gives the ranks of missing tokens before pruning; without it they stay unknown.
    """
    answer = _answer(outcome, outcome.baseline_rank)
    query = source.query(outcome.text)
    weights = source.document(answer, query)
    if weights is None:
        return Reason("not indexed", f"The answer {answer} is not in the index.", answer)
    text = texts.get(answer, "")
    unpruned = encoder.encode(text) if encoder is not None else None
    needed = needed_expansions(query, weights, unpruned, source.encoder.lexicon)
    cut = None
    if encoder is not None and not source.reads_whole_texts:
        cut = cut_part(encoder.tokenizer, encoder.tokens, text, query)
    kind, sentences, contrast = _main_reason(outcome, source, answer, query, weights, cut)
    if needed and kind in ("no shared token", "outranked"):
        sentences.append(_needed_sentence(needed, len(weights), unpruned))
    return Reason(kind, " ".join(sentences), answer, needed, contrast, cut)


def why_won(outcome: Outcome, source: WeightSource, literal: frozenset[str], words_shared: Sequence[str]) -> Reason:
    """Why the system does better on this query than the baseline.

    Args:
        literal: Tokens of the answer's own text.
        words_shared: Words of the answer that the baseline matches.
    """
    answer = _answer(outcome, outcome.rank)
    query = source.query(outcome.text)
    matched = matches(query, source.document(answer, query) or {})
    expanded = [match.token for match in matched if match.token not in literal]
    own = [match.token for match in matched if match.token in literal]
    parts = []
    if expanded:
        parts.append(f"by expansion to {_named(expanded)}")
    if own:
        parts.append(f"by {_named(own)} of its own text")
    rank, hits = outcome.baseline_rank(answer), len(outcome.baseline_ranking)
    missing = f"does not have it among its first {hits} hits" if hits else "finds nothing"
    place = f"ranks it {_ordinal(rank)}" if rank is not None else missing
    shared = f", although it shares {_named(words_shared)}" if words_shared else ", with no word in common"
    found = f"The answer is ranked {_ordinal(outcome.rank(answer))} {' and '.join(parts)}".rstrip()
    return Reason("won", f"{found}; the baseline {place}{shared}.", answer)


def _main_reason(
    outcome: Outcome,
    source: WeightSource,
    answer: str,
    query: Mapping[str, float],
    weights: Mapping[str, float],
    cut: Cut | None,
) -> tuple[str, list[str], list[tuple[str, float]]]:
    """(kind, sentences, contrast), the first that applies."""
    stored_lang = source.language(answer)
    if not query:
        return "no known token", ["No token of the query is in the vocabulary, so nothing can be found."], []
    if stored_lang is not None and stored_lang != outcome.document_lang:
        sentence = f"The search asks for language {outcome.document_lang}, the index has {stored_lang or 'none'} there."
        return "filtered", [f"The answer is filtered out. {sentence}"], []
    if cut is not None and cut.query_tokens:
        sentence = (
            f"The answer's text is cut at {cut.max_length} of {cut.tokens} tokens, and {_named(cut.query_tokens)} "
            f"stands only in the part that is cut off."
        )
        return "cut", [f"{_place(outcome, answer)} {sentence}"], _contrast(outcome, source, query, weights)
    if not query.keys() & weights.keys():
        return "no shared token", ["The answer shares no token with the query, so it cannot be found."], []
    contrast = _contrast(outcome, source, query, weights)
    above = [token for token, difference in contrast if difference > 0][:NAMED]
    sentence = f"The first hit scores more by {_named(above)}." if above else ""
    return "outranked", [f"{_place(outcome, answer)} {sentence}".rstrip()], contrast


def _place(outcome: Outcome, answer: str) -> str:
    rank, other = outcome.rank(answer), outcome.baseline_rank(answer)
    missing = f"not among the first {len(outcome.ranking)} hits" if outcome.ranking else "not found, as nothing is"
    here = f"ranked {_ordinal(rank)}" if rank is not None else missing
    there = f"the baseline ranks it {_ordinal(other)}" if other is not None else "the baseline does not find it either"
    return f"The answer is {here}; {there}."


def _contrast(
    outcome: Outcome, source: WeightSource, query: Mapping[str, float], weights: Mapping[str, float]
) -> list[tuple[str, float]]:
    """The first hit against the answer."""
    if not outcome.ranking:
        return []
    first = source.document(outcome.ranking[0][0], query) or {}
    differences = [
        (token, weight * (first.get(token, 0.0) - weights.get(token, 0.0))) for token, weight in query.items()
    ]
    return sorted((pair for pair in differences if pair[1]), key=lambda pair: (-abs(pair[1]), pair[0]))


def _needed_sentence(needed: Sequence[NeededExpansion], stored: int, unpruned: np.ndarray | None) -> str:
    tokens = ", ".join(_needed(token) for token in needed[:NAMED])
    total = f"; it gave {np.count_nonzero(unpruned):,} weights, {stored:,} are stored" if unpruned is not None else ""
    return f"It lacks {tokens}{total}."


def _needed(needed: NeededExpansion) -> str:
    if needed.weight is None:
        return f"\u201c{needed.token}\u201d"
    if needed.rank is None:
        return f"\u201c{needed.token}\u201d (the encoder gives it nothing)"
    return f"\u201c{needed.token}\u201d (rank {needed.rank:,} before pruning, {needed.weight:.2f})"


def _answer(outcome: Outcome, rank_of: Callable[[str], int | None]) -> str:
    """The relevant document of the best rank; of those not ranked the one of the highest grade."""
    return min(outcome.answers, key=lambda a: (rank_of(a) or math.inf, -outcome.answers[a], a))


def _named(tokens: Sequence[str]) -> str:
    quoted = [f"\u201c{token}\u201d" for token in tokens[:NAMED]]
    rest = f" and {len(tokens) - NAMED} more" if len(tokens) > NAMED else ""
    return ", ".join(quoted) + rest


def _ordinal(rank: int | None) -> str:
    if rank is None:
        return "nowhere"
    ending = "th" if 10 <= rank % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(rank % 10, "th")
    return f"{rank}{ending}"
