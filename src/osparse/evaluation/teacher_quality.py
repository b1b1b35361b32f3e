"""How well a teacher ranks its candidate lists, beside others and chance, and whether it may be learnt from.

Figures are expected values over the orders of equal scores, so a teacher that gives one score to all has those of a
random order, exactly.

A teacher is **near chance** where its nDCG@10 lies nearer to a random order's than to that of BM25 or the retriever on
the same lists (the better one, if that is above chance) and is below that by the 99 % interval of the difference over
the queries; or where its interval holds chance and ends below the middle between chance and the ideal order. It
**cannot be told** where the interval holds chance and is wider than that, as with a handful of queries.

An untrained encoder is better than chance, because texts that share words have similar vectors; hence the comparison
with BM25. Measured on 21 candidates per query, random ones and BM25's own (chance .22 and .27, BM25 .80 and .84): BERTs
of random weights as bi-encoders .28 to .40, as cross-encoders .21 to .27, a trained sparse model .95 to 1.00. The
interval is never narrower than that of so many random orders, so that two queries that happen to agree prove nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from osparse.evaluation.candidate_lists import CandidateList

DEPTH = 10
EXAMPLES = 5
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
CONFIDENCE, SURE = 0.95, 0.99
"""Of the intervals that are shown, and of those that decide."""
CHANCE, ALL = "chance", "all"
SHOWN = 60
"""Characters of a text in an example."""
Scores = NDArray[np.float64]
Verdict = Literal["better than chance", "near chance", "cannot be told"]


@dataclass(frozen=True)
class Figure:
    """Of one scorer on the lists of one direction."""

    ndcg: float
    """nDCG@10, mean over the queries."""
    mrr: float
    """Reciprocal rank of the first answer."""
    margin: float
    """Half width of the 95 % interval of nDCG@10 (Student's t over the queries); infinite below two queries."""


@dataclass(frozen=True)
class Example:
    """A query, its best scored answer and its best scored negative."""

    query: str
    answer: str
    answer_score: float
    negative: str
    negative_score: float


@dataclass(frozen=True)
class TeacherQuality:
    """A teacher on its candidate lists."""

    teacher: str
    verdict: Verdict
    queries: int
    lists: int
    figures: dict[str, dict[str, Figure]]
    """Direction, or "all" -> scorer (the teacher, bm25, a retriever, chance) -> its figures."""
    positives: list[float] = field(default_factory=list)
    """:data:`QUANTILES` of the scores of answers."""
    negatives: list[float] = field(default_factory=list)
    """The same of the other documents."""
    examples: list[Example] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        plain = asdict(self)
        for figures in plain["figures"].values():
            for figure in figures.values():
                figure["margin"] = figure["margin"] if math.isfinite(figure["margin"]) else None
        return plain

    def finding(self) -> str:
        """A clause with the figures that decide."""
        figures = self.figures.get(ALL, {})
        if not figures:
            return (
                f"teacher {self.teacher} has no list with an answer, of somebody else's judgement, and another "
                "document to rank"
            )
        others = ", ".join(f"{name} {figure.ndcg:.3f}" for name, figure in figures.items() if name != self.teacher)
        own = figures[self.teacher]
        return (
            f"teacher {self.teacher} has nDCG@10 {own.ndcg:.3f}{_interval(own)} over the candidate lists of "
            f"{self.queries:,} queries ({others})"
        )

    def text(self) -> str:
        """A table by direction, the distributions, the examples and the verdict."""
        lines = [f"  {'direction':<10} {'scorer':<20} {'nDCG@10':>8} {'+-':>6} {'MRR':>6}"]
        for direction, figures in self.figures.items():
            for name, figure in figures.items():
                margin = f"{figure.margin:.3f}" if math.isfinite(figure.margin) else "?"
                lines.append(f"  {direction:<10} {name[:20]:<20} {figure.ndcg:>8.3f} {margin:>6} {figure.mrr:>6.3f}")
        if self.positives:
            heads = " ".join(f"{f'p{100 * q:.0f}':>9}" for q in QUANTILES)
            lines.append(f"  {'scores of':<12}{heads}")
            for name, values in (("answers", self.positives), ("negatives", self.negatives)):
                lines.append(f"  {name:<12}" + " ".join(f"{value:>9.3f}" for value in values))
        for example in self.examples:
            lines.append(f"  query     {_short(example.query)}")
            lines.append(f"   {example.answer_score:>9.3f} answer    {_short(example.answer)}")
            lines.append(f"   {example.negative_score:>9.3f} negative  {_short(example.negative)}")
        lines.append(f"  {self.finding()}: {self.verdict}")
        return "\n".join(lines)


def _interval(figure: Figure) -> str:
    return f" \u00b1{figure.margin:.3f}" if math.isfinite(figure.margin) else ""


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= SHOWN else f"{flat[: SHOWN - 1]}\u2026"


def judge_teacher(
    teacher: str, lists: Sequence[CandidateList], scores: Sequence[Scores], others: Mapping[str, Sequence[Scores]]
) -> TeacherQuality:
    """Judge the scores of a teacher; documents that it did not score (NaN) are left out for every scorer.

    Args:
        scores: The teacher's, (n,) of each list.
        others: Name -> scores of the same lists by BM25 or the retriever; NaN ranks last.
    """
    kept, own, rest = _scored(lists, scores, others)
    if not kept:
        return TeacherQuality(teacher, "cannot be told", 0, 0, {})
    by_name = {teacher: own, **rest, CHANCE: [np.zeros(len(one.document_ids)) for one in kept]}
    values = {name: [_value(s, one.relevant) for s, one in zip(of, kept, strict=True)] for name, of in by_name.items()}
    directions = list(dict.fromkeys(sorted(one.direction for one in kept)))
    parts = {direction: [i for i, one in enumerate(kept) if one.direction == direction] for direction in directions}
    if len(parts) > 1:
        parts[ALL] = list(range(len(kept)))
    else:
        parts = {ALL: list(range(len(kept)))}
    figures = {
        part: {name: _figure([of[i] for i in rows], [kept[i].query_id for i in rows]) for name, of in values.items()}
        for part, rows in parts.items()
    }
    relevant = np.concatenate([one.relevant for one in kept])
    flat = np.concatenate(own)
    return TeacherQuality(
        teacher,
        _verdict({name: _by_query([v[0] for v in of], kept) for name, of in values.items()}, teacher, _spread(kept)),
        len({one.query_id for one in kept}),
        len(kept),
        figures,
        [float(value) for value in np.quantile(flat[relevant], QUANTILES)],
        [float(value) for value in np.quantile(flat[~relevant], QUANTILES)],
        _examples(kept, own),
    )


def _scored(
    lists: Sequence[CandidateList], scores: Sequence[Scores], others: Mapping[str, Sequence[Scores]]
) -> tuple[list[CandidateList], list[Scores], dict[str, list[Scores]]]:
    """The lists without what the teacher did not score; those left without an answer or a negative are dropped."""
    kept: list[CandidateList] = []
    own: list[Scores] = []
    rest: dict[str, list[Scores]] = {name: [] for name in others}
    for i, (one, values) in enumerate(zip(lists, scores, strict=True)):
        known = ~np.isnan(values)
        relevant = one.relevant[known]
        if relevant.any() and not relevant.all():
            kept.append(one.only(known))
            own.append(values[known])
            for name, of in others.items():
                rest[name].append(np.nan_to_num(of[i][known], nan=-np.inf))
    return kept, own, rest


def _value(scores: Scores, relevant: NDArray[np.bool_]) -> tuple[float, float]:
    return expected_ndcg(scores, relevant), expected_reciprocal_rank(scores, relevant)


def expected_ndcg(scores: Scores, relevant: NDArray[np.bool_], depth: int = DEPTH) -> float:
    """nDCG of a list, the mean over all orders of equal scores.

    A document of a block of equal scores has the block's mean discount (McSherry and Najork, ECIR 2008).
    """
    discounts = np.zeros(len(scores))
    discounts[:depth] = 1 / np.log2(np.arange(2, min(depth, len(scores)) + 2))
    ideal = discounts[: int(relevant.sum())].sum()
    gain = sum(discounts[start:end].mean() * of_block for start, end, of_block in _blocks(scores, relevant))
    return float(gain / ideal)


def expected_reciprocal_rank(scores: Scores, relevant: NDArray[np.bool_]) -> float:
    """1 / rank of the first answer, the mean over all orders of equal scores.

    In a block of t documents, r of them answers, after s others: sum over k of C(t - k, r - 1) / C(t, r) / (s + k).
    """
    for start, end, answers in _blocks(scores, relevant):
        if answers:
            size = end - start
            orders = math.comb(size, answers)
            places = range(1, size - answers + 2)
            return sum(math.comb(size - k, answers - 1) / orders / (start + k) for k in places)
    return 0.0


def _blocks(scores: Scores, relevant: NDArray[np.bool_]) -> list[tuple[int, int, int]]:
    """(first rank - 1, end, answers) of each block of equal scores, best first."""
    order = np.argsort(-scores, kind="stable")
    ordered, answers = scores[order], relevant[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    ends = np.append(starts[1:], len(ordered))
    return [(int(a), int(b), int(answers[a:b].sum())) for a, b in zip(starts, ends, strict=True)]


def _by_query(values: Sequence[float], lists: Sequence[CandidateList]) -> Scores:
    """(Q,) mean over the lists of each query."""
    return _means(values, [one.query_id for one in lists])


def _means(values: Sequence[float], queries: Sequence[str]) -> Scores:
    of_query: dict[str, list[float]] = {}
    for query, value in zip(queries, values, strict=True):
        of_query.setdefault(query, []).append(value)
    return np.array([np.mean(part) for part in of_query.values()])


def _figure(values: Sequence[tuple[float, float]], queries: Sequence[str]) -> Figure:
    ndcg = _means([value for value, _ in values], queries)
    mrr = _means([value for _, value in values], queries)
    return Figure(float(ndcg.mean()), float(mrr.mean()), half_width(ndcg))


def half_width(values: Scores, confidence: float = CONFIDENCE, spread: float = 0.0) -> float:
    """Of the interval of the mean by Student's t; infinite for a single value.

    ``spread``: standard deviation of a value that is known beforehand; the interval is at least the one it gives.
    """
    if len(values) < 2:
        return math.inf
    from scipy.stats import norm, t

    level = (1 + confidence) / 2
    width = max(float(t.ppf(level, len(values) - 1)) * float(values.std(ddof=1)), float(norm.ppf(level)) * spread)
    return width / math.sqrt(len(values))


def _spread(lists: Sequence[CandidateList]) -> float:
    """Standard deviation of nDCG@10 of a random order: of a sum of discounts drawn without replacement."""
    variances = []
    for one in lists:
        size, answers = len(one.relevant), int(one.relevant.sum())
        discounts = np.zeros(size)
        discounts[:DEPTH] = 1 / np.log2(np.arange(2, min(DEPTH, size) + 2))
        variances.append(answers * (1 - answers / size) * discounts.var(ddof=1) / discounts[:answers].sum() ** 2)
    return math.sqrt(float(np.mean(variances)))


def _verdict(values: Mapping[str, Scores], teacher: str, spread: float) -> Verdict:
    """By the differences of nDCG@10 query by query; see the module's text."""

    def low(difference: Scores) -> float:
        return float(difference.mean()) - half_width(difference, SURE, spread)

    def high(difference: Scores) -> float:
        return float(difference.mean()) + half_width(difference, SURE, spread)

    own, chance = values[teacher], values[CHANCE]
    rivals = [rival for name, rival in values.items() if name not in (teacher, CHANCE) and low(rival - chance) > 0]
    if rivals:
        best = max(rivals, key=lambda rival: float(rival.mean()))
        if float((own - (chance + best) / 2).mean()) < 0 and high(own - best) < 0:
            return "near chance"
    if low(own - chance) > 0:
        return "better than chance"
    return "near chance" if high(own - (chance + 1) / 2) < 0 else "cannot be told"


def _examples(lists: Sequence[CandidateList], scores: Sequence[Scores]) -> list[Example]:
    """Of lists spread evenly over all."""
    chosen = np.unique(np.linspace(0, len(lists) - 1, min(EXAMPLES, len(lists))).astype(int)).tolist()
    examples = []
    for i in chosen:
        one, values = lists[i], scores[i]
        answer = int(np.argmax(np.where(one.relevant, values, -np.inf)))
        negative = int(np.argmax(np.where(one.relevant, -np.inf, values)))
        examples.append(
            Example(
                one.query, one.documents[answer], float(values[answer]), one.documents[negative],
                float(values[negative]),
            )
        )  # fmt: skip
    return examples
