"""The figures of several systems on the same judged queries, and how sure their differences are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from osparse.evaluation.exact_search import paired_randomisation_test
from osparse.evaluation.measures import JUDGED, NDCG, JudgedSet, Measures, condensed_run, measure, without_query
from osparse.evaluation.significance import holm
from osparse.retrieval.judging.judged_share import PLACES, JudgedPlaces, judged_share_notes
from osparse.retrieval.systems.system import Run

ROUNDS = 10_000
"""Of the randomisation test."""
CEILING, FEWEST_QUERIES = 0.99, 20
"""A mean measure that leaves no difference to see, and how few queries say nothing of it."""


@dataclass(frozen=True)
class Difference:
    """A system against the reference system of its row, by the first measure."""

    reference: str
    gain: float
    """This system's mean minus the reference's."""
    p: float
    """Two-sided, paired randomisation test over the queries."""
    p_adjusted: float
    """``p`` by Holm's correction over the systems that were compared with the reference on these queries."""


@dataclass(frozen=True)
class Row:
    """One system on one direction, or on its queries that share no word with any of their answers."""

    direction: str
    no_shared_word: bool
    queries: int
    answered: int
    """Queries for which the system returned any document."""
    documents: int
    """What each query was ranked against; 0 where only the judgements are known."""
    system: str
    figures: dict[str, float]
    """Measure -> mean over the queries."""
    margin: float
    """Half width of the 95 % interval of the first measure."""
    judged10: float
    """Judged@10: share of the first ten documents that somebody judged."""
    condensed_ndcg10: float
    """nDCG@10 of the ranking without its unjudged documents."""
    difference: Difference | None = None
    """None for the reference itself."""
    not_trained_on: bool = False
    """Only the queries that, with all their answers, no measured model was trained on."""

    @property
    def whole(self) -> bool:
        """Whether it is about every query of its direction."""
        return not (self.no_shared_word or self.not_trained_on)


@dataclass(frozen=True)
class Pair:
    """Two runs on the queries of one direction, by one measure."""

    direction: str
    measure: str
    first: str
    second: str
    difference: float
    """Mean of the second minus mean of the first."""
    p: float
    """Two-sided, paired randomisation test over the queries."""
    p_adjusted: float
    """``p`` by Holm's correction over all pairs of the direction and measure."""


@dataclass(frozen=True)
class SystemMeasures:
    """One system on one judged set, query by query."""

    measures: Measures
    judged: Measures
    condensed: Measures
    answered: frozenset[str]
    """Queries for which it returned any document."""
    judged_places: JudgedPlaces

    def subset(self, queries: frozenset[str]) -> SystemMeasures:
        measures, judged, condensed = (part.subset(queries) for part in (self.measures, self.judged, self.condensed))
        places = {query: judged for query, judged in self.judged_places.items() if query in queries}
        return SystemMeasures(measures, judged, condensed, self.answered & queries, places)


def measure_system(judged: JudgedSet, run: Run, names: Sequence[str]) -> SystemMeasures:
    """The named measures, Judged@10 and the condensed nDCG@10 of one run."""
    rankings = without_query(run, judged.qrels)
    return SystemMeasures(
        measure(judged.qrels, run, names, judged.not_relevant),
        measure(judged.qrels, run, [JUDGED], judged.not_relevant),
        measure(judged.qrels, condensed_run(judged, run), [NDCG], judged.not_relevant),
        frozenset(query for query, ranking in rankings.items() if ranking),
        {query: _judged_places(judged, query, ranking) for query, ranking in rankings.items()},
    )


def _judged_places(judged: JudgedSet, query: str, ranking: Sequence[str]) -> tuple[bool, ...]:
    known = judged.qrels[query].keys() | judged.not_relevant.get(query, frozenset())
    return tuple(document in known for document in ranking[:PLACES])


def share_notes(judged: JudgedSet, systems: Mapping[str, SystemMeasures]) -> list[str]:
    """A warning where the judgements of a direction cover one system better than another."""
    return judged_share_notes(direction_name(judged), {name: one.judged_places for name, one in systems.items()})


def ceiling_notes(judged: JudgedSet, systems: Mapping[str, SystemMeasures], measure_name: str) -> list[str]:
    """A warning where every system answers nearly every query of a direction, so that the figures compare nothing."""
    figures = [system.measures.mean(measure_name) for system in systems.values()]
    if len(judged.qrels) < FEWEST_QUERIES or min(figures) < CEILING:
        return []
    return [
        f"{direction_name(judged)}: no {measure_name} is below {CEILING}, so these queries cannot tell systems apart; "
        "queries whose words all stand in their answers are easier than what users type: judge queries of your users "
        "(osparse judge)"
    ]


def rows_of(
    judged: JudgedSet,
    systems: Mapping[str, SystemMeasures],
    names: Sequence[str],
    trained_on: frozenset[str] = frozenset(),
) -> list[Row]:
    """Rows of the direction, then of its queries without a shared word, and of those not trained on, if there are any.

    The first system is the reference of the others.

    Args:
        trained_on: Queries that a system was trained on, or on an answer of theirs.
    """
    rows = _rows(judged, systems, names)
    if judged.no_shared:
        rows += _rows(judged, _part(systems, judged.no_shared), names, no_shared_word=True)
    if trained_on and (others := frozenset(judged.qrels) - trained_on):
        rows += _rows(judged, _part(systems, others), names, not_trained_on=True)
    return rows


def _part(systems: Mapping[str, SystemMeasures], queries: frozenset[str]) -> dict[str, SystemMeasures]:
    return {name: measures.subset(queries) for name, measures in systems.items()}


def _rows(
    judged: JudgedSet, systems: Mapping[str, SystemMeasures], names: Sequence[str], *, no_shared_word: bool = False,
    not_trained_on: bool = False,
) -> list[Row]:  # fmt: skip
    differences = _differences(systems, names[0])
    return [
        Row(
            direction=direction_name(judged),
            no_shared_word=no_shared_word,
            queries=system.measures.queries,
            answered=len(system.answered),
            documents=len(judged.document_ids),
            system=name,
            figures={measure_name: system.measures.mean(measure_name) for measure_name in names},
            margin=system.measures.margin(names[0]),
            judged10=system.judged.mean(JUDGED),
            condensed_ndcg10=system.condensed.mean(NDCG),
            difference=differences.get(name),
            not_trained_on=not_trained_on,
        )
        for name, system in systems.items()
    ]


def direction_name(judged: JudgedSet) -> str:
    """Judgements of a qrels file say nothing about languages."""
    return judged.direction if judged.document_lang else "all queries"


def _differences(systems: Mapping[str, SystemMeasures], first: str) -> dict[str, Difference]:
    reference, *others = systems
    tests = [(difference(systems[name].measures, systems[reference].measures, first)) for name in others]
    adjusted = holm([p for _, p in tests])
    return {
        name: Difference(reference, gain, p, p_adjusted)
        for name, (gain, p), p_adjusted in zip(others, tests, adjusted, strict=True)
    }


def difference(system: Measures, reference: Measures, name: str) -> tuple[float, float]:
    """(difference of the means, two-sided p of the paired randomisation test) by one measure."""
    p = paired_randomisation_test(system.values(name), reference.values(name), ROUNDS)
    return system.mean(name) - reference.mean(name), p
