"""What each judged query got of the two systems: values of the measure and rankings, and which query lost most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from osparse.evaluation.measures import JudgedSet, without_query
from osparse.retrieval.figures import direction_name, measure_system
from osparse.retrieval.systems.system import Run

Ranking = list[tuple[str, float]]
"""(document id, score), best first."""


@dataclass(frozen=True)
class Outcome:
    """One query in one direction."""

    id: str
    text: str
    direction: str
    document_lang: str
    answers: Mapping[str, int]
    """Relevant document id -> grade."""
    value: float
    """Of the measure, by the system that the page is about."""
    baseline_value: float
    ranking: Ranking
    baseline_ranking: Ranking

    @property
    def gain(self) -> float:
        """Above 0 where the system is better than the baseline."""
        return self.value - self.baseline_value

    def rank(self, document_id: str) -> int | None:
        """In the system's ranking, 1 the first; None where it is not ranked."""
        return _rank(self.ranking, document_id)

    def baseline_rank(self, document_id: str) -> int | None:
        return _rank(self.baseline_ranking, document_id)


def outcomes_of(judged: JudgedSet, run: Run, baseline: Run, measure: str) -> list[Outcome]:
    """The queries of one judged set."""
    values, other = (measure_system(judged, one, [measure]).measures.per_query[measure] for one in (run, baseline))
    rankings, baselines = (without_query(one, judged.qrels) for one in (run, baseline))
    return [
        Outcome(
            id=query,
            text=judged.queries[query],
            direction=direction_name(judged),
            document_lang=judged.document_lang,
            answers=grades,
            value=values[query],
            baseline_value=other[query],
            ranking=[(document, run[query][document]) for document in rankings[query]],
            baseline_ranking=[(document, baseline[query][document]) for document in baselines[query]],
        )
        for query, grades in judged.qrels.items()
    ]


def most_lost(outcomes: Sequence[Outcome], number: int) -> list[Outcome]:
    """The queries with the largest loss, the largest first; of equal ones those whose answer is ranked lowest."""
    lost = [outcome for outcome in outcomes if outcome.gain < 0]
    return sorted(lost, key=lambda outcome: (outcome.gain, -_depth(outcome), outcome.id))[:number]


def most_won(outcomes: Sequence[Outcome], number: int) -> list[Outcome]:
    """The queries with the largest gain, the largest first; of equal ones those that the baseline ranks lowest."""
    won = [outcome for outcome in outcomes if outcome.gain > 0]
    return sorted(won, key=lambda outcome: (-outcome.gain, -_baseline_depth(outcome), outcome.id))[:number]


def _depth(outcome: Outcome) -> int:
    """Best rank of any answer; one more than the ranking's length where none is ranked."""
    return min((rank for a in outcome.answers if (rank := outcome.rank(a))), default=len(outcome.ranking) + 1)


def _baseline_depth(outcome: Outcome) -> int:
    ranks = (rank for a in outcome.answers if (rank := outcome.baseline_rank(a)))
    return min(ranks, default=len(outcome.baseline_ranking) + 1)


def _rank(ranking: Ranking, document_id: str) -> int | None:
    return next((rank for rank, (document, _) in enumerate(ranking, start=1) if document == document_id), None)
