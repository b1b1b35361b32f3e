"""Hard negatives: documents that a retriever ranks high for a query and that do not answer it.

Each rule exists because its absence is a known mistake: the first ranks hold unjudged answers, the last ones are
random, a document that scores nearly as high as the answer often is one, and copies of the answer are answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl

from osparse.contracts.dataset import CANDIDATES, Dataset
from osparse.contracts.text_map import TextMap, TextsById
from osparse.corpus.mining.retrained import save_retrained
from osparse.corpus.mining.retrievers import Ranking, Retriever
from osparse.corpus.text.analysis import terms
from osparse.errors import DatasetError, InputError
from osparse.io.files import require_replaceable

ROWS = 100_000
"""Candidates held as Python objects at a time."""
TERMS = 10_000
"""Documents whose terms are remembered for comparing them again."""


@dataclass(frozen=True, kw_only=True)
class MiningRules:
    """What counts as a hard negative. Raises :class:`InputError` for values out of range."""

    negatives: int = 30
    """At most so many per query and document language."""
    first: int = 1
    """First rank that may be taken; 1 is the best. Known answers do not count as ranks."""
    last: int = 100
    """Last rank that may be taken."""
    margin: float = 0.95
    """Only documents that score below this share of the best-ranked answer's score."""
    near: float = 0.8
    """Jaccard similarity of the sets of terms from which on a document counts as a copy of an answer."""
    consistency: int | None = None
    """With it a pair is kept only if its answer is among the first so many (arXiv 2411.04403: 10)."""

    def __post_init__(self) -> None:
        problems = []
        if not 1 <= self.first <= self.last:
            problems.append(f"first and last must be ranks with 1 <= first <= last, got {self.first} and {self.last}")
        if self.negatives < 1:
            problems.append(f"negatives must be at least 1, got {self.negatives}")
        if not 0 < self.margin or not 0 < self.near <= 1:
            problems.append(f"margin must be above 0 and near within (0, 1], got {self.margin} and {self.near}")
        if self.consistency is not None and self.consistency < 1:
            problems.append(f"consistency must be at least 1, got {self.consistency}")
        if problems:
            raise InputError("mining: " + "; ".join(problems))


@dataclass
class MiningReport:
    """What mining did."""

    retriever: str
    rules: dict[str, Any]
    queries: int = 0
    """Pairs of a query and a document language, each ranked once."""
    with_negatives: int = 0
    negatives: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    """Reason -> ranked documents that are no negatives."""
    answer_not_found: int = 0
    """Queries whose answers were not ranked at all: no margin could be applied."""
    pairs_dropped: int = 0
    """By the consistency filter."""

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "left_out": dict(sorted(self.left_out.items()))}

    def __str__(self) -> str:
        lines = [
            f"{self.negatives:,} negatives of {self.with_negatives:,} of {self.queries:,} queries (by {self.retriever}"
            "; a query counts once for each language of documents)",
            *(f"  left out {n:,}: {reason}" for reason, n in sorted(self.left_out.items())),
            f"  {self.answer_not_found:,} queries whose answer was not ranked: no margin applied",
        ]
        first = self.rules.get("consistency")
        if first is not None:
            lines.append(f"  {self.pairs_dropped:,} pairs dropped: answer not among the first {first}")
        return "\n".join(lines)


def mine(
    dataset: Dataset,
    output: Path | str,
    retriever: Retriever,
    rules: MiningRules | None = None,
    *,
    overwrite: bool = False,
) -> tuple[Dataset, MiningReport]:
    """Write a copy of a dataset with hard negatives of its training queries in ``candidates.train``.

    Documents of the validation and test splits, their groups and copies are never ranked, so none is learnt from.
    Candidates that another retriever or teacher gave are kept.

    Raises:
        DatasetError: no train split, or no query got a negative.
        InputError: ``output`` exists and is not a dataset, or ``overwrite`` is false.
    """
    require_replaceable(Path(output), "manifest.json", overwrite)
    rules = rules or MiningRules()
    report = MiningReport(retriever.name, asdict(rules))
    documents = dataset.learnable_documents().select("id", "lang", "group").collect()
    qrels = dataset.qrels("train").collect()
    answers: dict[str, list[str]] = {}
    for query, document in qrels.filter(pl.col("score") > 0).select("query_id", "document_id").iter_rows():
        answers.setdefault(query, []).append(document)
    texts = dict(dataset.split_queries("train").select("id", "text").collect().iter_rows())
    finder = _Finder(_Documents.of(dataset, documents), rules, report)
    mined = [
        frame
        for (lang,), part in documents.sort("lang", maintain_order=True).group_by("lang", maintain_order=True)
        for frame in _mine_language(part["id"], answers, texts, retriever, finder)
    ]
    if not mined:
        raise DatasetError(f"{dataset.path}: no query got a negative; left out: {dict(report.left_out) or 'nothing'}")
    remaining = qrels
    if finder.inconsistent:
        dropped = pl.DataFrame(
            finder.inconsistent, schema={"query_id": pl.String, "document_id": pl.String}, orient="row"
        )
        remaining = qrels.join(dropped, on=["query_id", "document_id"], how="anti")
        report.pairs_dropped = qrels.height - remaining.height
    return _save(dataset, Path(output), remaining, pl.concat(mined), report, overwrite=overwrite), report


@dataclass(frozen=True)
class _Documents:
    """What may be ranked; texts stay in the memory map."""

    texts: TextsById
    groups: dict[str, str]
    """Id -> group; a document of no group is one by itself."""

    @classmethod
    def of(cls, dataset: Dataset, documents: pl.DataFrame) -> _Documents:
        groups = documents.select(
            "id", pl.when(pl.col("group").fill_null("") == "").then("id").otherwise("group").alias("name")
        )
        return cls(TextMap(dataset.path / "documents.arrow").by_id(documents["id"]), dict(groups.iter_rows()))


def _mine_language(
    ids: pl.Series, answers: Mapping[str, list[str]], queries: Mapping[str, str], retriever: Retriever, finder: _Finder
) -> Iterator[pl.DataFrame]:
    """Candidates among the documents of one language, some of them at a time."""
    documents = finder.documents.texts.only(ids)
    answered = [query for query in sorted(answers) if any(name in documents for name in answers[query])]
    depth = finder.rules.last + max((len(answers[query]) for query in answered), default=0)
    rankings = retriever.rank(documents, [queries[query] for query in answered], depth)
    rows: list[tuple[str, str, float, float, str, str]] = []
    for query, ranking in zip(answered, rankings, strict=True):
        known = [name for name in answers[query] if name in documents]
        negatives = finder.negatives(query, known, ranking)
        rows += [(query, name, 0.0, score, "mined", retriever.name) for name, score in negatives]
        if len(rows) >= ROWS:
            yield pl.DataFrame(rows, schema=CANDIDATES, orient="row")
            rows = []
    if rows:
        yield pl.DataFrame(rows, schema=CANDIDATES, orient="row")


class _Finder:
    """Applies the rules to one ranking at a time."""

    def __init__(self, documents: _Documents, rules: MiningRules, report: MiningReport) -> None:
        self.documents, self.rules, self.report = documents, rules, report
        self.inconsistent: list[tuple[str, str]] = []
        self._terms = lru_cache(TERMS)(lambda name: frozenset(terms(documents.texts[name])))

    def negatives(self, query: str, answers: Sequence[str], ranking: Ranking) -> Ranking:
        """The negatives of a ranking in which ``answers`` are the query's known answers in this language."""
        report, rules, known = self.report, self.rules, set(answers)
        report.queries += 1
        place = {name: rank for rank, (name, _) in enumerate(ranking, start=1)}
        if rules.consistency is not None:
            self.inconsistent += [
                (query, name) for name in answers if place.get(name, len(ranking) + 1) > rules.consistency
            ]
        best = max((score for name, score in ranking if name in known), default=None)
        report.answer_not_found += best is None
        groups = {self.documents.groups[name] for name in answers}
        chosen: Ranking = []
        rank = 0
        for name, score in ranking:
            if name in known:
                continue
            rank += 1
            if len(chosen) == rules.negatives or rank > rules.last:
                break
            reason = self._reason(name, score, rank, best, groups, answers)
            if reason is None:
                chosen.append((name, score))
            else:
                report.left_out[reason] += 1
        report.negatives += len(chosen)
        report.with_negatives += bool(chosen)
        return chosen

    def _reason(
        self, name: str, score: float, rank: int, best: float | None, groups: set[str], answers: Sequence[str]
    ) -> str | None:
        """Why a document does not count as a negative; None if it does."""
        if rank < self.rules.first:
            return "before the first rank"
        if self.documents.groups[name] in groups:
            return "same group as an answer"
        if best is not None and score >= self.rules.margin * best:
            return "scores like an answer"
        if any(self._similarity(name, answer) >= self.rules.near for answer in answers):
            return "copy of an answer"
        return None

    def _similarity(self, a: str, b: str) -> float:
        first, second = self._terms(a), self._terms(b)
        return len(first & second) / max(1, len(first | second))


def _save(
    dataset: Dataset, output: Path, qrels: pl.DataFrame, mined: pl.DataFrame, report: MiningReport, *, overwrite: bool
) -> Dataset:
    """The dataset with the new training qrels and candidates; a retriever's own earlier ones are replaced."""
    judged_queries = qrels.select("query_id").unique()
    earlier = dataset.candidates("train").collect() if dataset.has_candidates("train") else mined.clear()
    earlier = earlier.filter((pl.col("origin") != "mined") | (pl.col("scorer") != report.retriever))
    return save_retrained(
        dataset,
        output,
        qrels=qrels,
        candidates=pl.concat([part.join(judged_queries, on="query_id", how="semi") for part in (earlier, mined)]),
        notes={"mining": report.to_json(), "mined_from": dataset.fingerprint},
        overwrite=overwrite,
    )
