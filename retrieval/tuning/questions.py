"""Judged queries one by one, in an order that any first part of is a fair sample, and their nDCG@10 under a setting."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from osparse.evaluation.measures import Benchmark
from osparse.evaluation.rank_measures import ndcg
from osparse.retrieval.serving.passes import ANY
from osparse.retrieval.serving.settings import Setting

CUTOFF = 10
SIZE = CUTOFF + 1
"""Hits that are asked for: one more, since a document of the query's own id is left out."""


@dataclass(frozen=True)
class Question:
    """One judged query of one direction."""

    query: str
    text: str
    lang: str | None
    """Only documents of this language are searched; None searches all."""
    direction: str
    grades: Mapping[str, int]

    def ndcg(self, ranking: Collection[str]) -> float:
        """nDCG@10 as ``osparse evaluate`` computes it."""
        own = self.query if self.query not in self.grades else None
        return ndcg([document for document in ranking if document != own], self.grades, CUTOFF)


class Ranker(Protocol):
    """Ranks documents for many queries under one setting."""

    def rankings(self, setting: Setting, asked: Sequence[Question]) -> list[list[str]]:
        """The first :data:`SIZE` documents of each, best first."""


def questions(data: Benchmark, seed: int = 0, *, filtered: bool = True) -> list[Question]:
    """Every judged query, shuffled.

    Args:
        filtered: Of every direction by itself, among the documents of its language; otherwise each query once, among
            all documents.
    """
    several = len(data.languages) > 1
    listed = [
        Question(query, text, judged.document_lang if several else None, judged.direction, judged.qrels[query])
        for judged in data.sets
        for query, text in judged.queries.items()
    ]
    if not filtered and several:
        listed = _among_all(listed)
    random.Random(seed).shuffle(listed)
    return listed


def _among_all(listed: Sequence[Question]) -> list[Question]:
    """The questions of each query as one, for the relevant documents of every language."""
    merged: dict[str, Question] = {}
    for question in listed:
        before = merged.get(question.query, question)
        direction = f"{question.direction.partition('->')[0]}->{ANY}"
        grades = {**before.grades, **question.grades}
        merged[question.query] = replace(question, lang=None, direction=direction, grades=grades)
    return [*merged.values()]


def values(ranker: Ranker, setting: Setting, asked: Sequence[Question]) -> NDArray[np.float64]:
    """(Q,) nDCG@10 of each."""
    rankings = ranker.rankings(setting, asked)
    return np.array([question.ndcg(ranking) for question, ranking in zip(asked, rankings, strict=True)])


def by_direction(asked: Sequence[Question], figures: NDArray[np.float64]) -> dict[str, float]:
    """Direction -> mean."""
    directions = sorted({question.direction for question in asked})
    return {
        direction: float(np.mean([v for q, v in zip(asked, figures, strict=True) if q.direction == direction]))
        for direction in directions
    }
