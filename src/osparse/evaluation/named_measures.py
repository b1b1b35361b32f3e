"""Measures of rankings by name: nDCG@k, hit@k, R@k and Judged@k in numpy, every other one by ir-measures."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from osparse.errors import InputError
from osparse.evaluation.rank_measures import ndcg, recall, success

NDCG, HIT, RECALL, JUDGED = "nDCG@10", "hit@1", "R@100", "Judged@10"
MEASURES = (NDCG, HIT, RECALL)
"""Measured when no others are named."""
WITHOUT_CUTOFF = 1000
"""Documents that a measure without a cutoff, such as AP, looks at: the usual depth of a TREC run."""
MAX_CUTOFF = 9_999
"""OpenSearch returns at most 10,000 documents, and one more than the cutoff is retrieved."""

Qrels = Mapping[str, Mapping[str, int]]
"""Query id -> {relevant document id: grade >= 1}."""
Judged = Mapping[str, Collection[str]]
"""Query id -> documents judged not to be relevant."""
Rankings = Mapping[str, Sequence[str]]
"""Query id -> document ids, best first."""

_NUMPY = re.compile(r"(nDCG|hit|R|Judged)@([1-9][0-9]*)")
_CUTOFF = re.compile(r"@([0-9]+)$")


def check_measures(names: Sequence[str]) -> None:
    """Raise :class:`InputError` for a name that is no measure, and MissingExtraError where ir-measures is needed."""
    if not names:
        raise InputError(f"`measures` must name at least one measure, such as {NDCG}")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f"`measures` names {', '.join(repeated)} twice; name each measure once")
    for name in names:
        if not _NUMPY.fullmatch(name):
            _parsed(name)
        if not 1 <= cutoff_of(name) <= MAX_CUTOFF:
            raise InputError(
                f"the cutoff of {name} must be from 1 to {MAX_CUTOFF:,}: OpenSearch returns no more documents"
            )


def cutoff_of(name: str) -> int:
    """Documents of a ranking that the measure looks at."""
    cutoff = _CUTOFF.search(name)
    return int(cutoff[1]) if cutoff else WITHOUT_CUTOFF


def measured(
    names: Sequence[str], qrels: Qrels, rankings: Rankings, not_relevant: Judged
) -> dict[str, dict[str, float]]:
    """Measure -> {query id: value}; a query without a ranking has 0 in all of them.

    The order given is the ranking; scores play no part. Source of the formulas: trec_eval (ndcg_cut with linear gains,
    success, recall); Judged@k divides by the documents returned where those are fewer than k, as ir-measures does.
    """
    plain = {name: match for name in names if (match := _NUMPY.fullmatch(name))}
    others = [name for name in names if name not in plain]
    values = {name: dict.fromkeys(qrels, 0.0) for name in names}
    for query, grades in qrels.items():
        ranking = list(rankings.get(query, ()))
        for name, match in plain.items() if ranking else ():
            values[name][query] = _value(match[1], int(match[2]), ranking, grades, not_relevant.get(query, ()))
    if others:
        _by_ir_measures(values, others, qrels, rankings, not_relevant)
    return values


def condensed(qrels: Qrels, rankings: Rankings, not_relevant: Judged) -> dict[str, list[str]]:
    """The rankings without their unjudged documents (Sakai, SIGIR 2007: condensed lists)."""
    return {
        query: [d for d in rankings.get(query, ()) if d in grades or d in not_relevant.get(query, ())]
        for query, grades in qrels.items()
    }


def _value(kind: str, k: int, ranking: Sequence[str], grades: Mapping[str, int], zeros: Collection[str]) -> float:
    if kind == "Judged":
        top = ranking[:k]
        return sum(document in grades or document in zeros for document in top) / len(top)
    return {"nDCG": ndcg, "hit": success, "R": recall}[kind](ranking, grades, k)


def _by_ir_measures(
    values: dict[str, dict[str, float]], names: Sequence[str], qrels: Qrels, rankings: Rankings, not_relevant: Judged
) -> None:
    from ir_measures import iter_calc

    parsed = {_parsed(name): name for name in names}
    judged = {query: {**dict.fromkeys(not_relevant.get(query, ()), 0), **grades} for query, grades in qrels.items()}
    scored = {
        query: {document: float(-rank) for rank, document in enumerate(rankings[query])}
        for query in qrels
        if rankings.get(query)
    }
    for value in iter_calc(list(parsed), judged, scored):
        values[parsed[value.measure]][value.query_id] = value.value


def _parsed(name: str) -> Any:
    """A measure of ir-measures."""
    from osparse.plugins.extras import require

    module = require("ir_measures", "measures")
    try:
        measure = module.parse_measure(name)
        supported = module.DefaultPipeline.supports(measure)
    except Exception as problem:  # noqa: BLE001 - the parser raises NameError, ValueError, SyntaxError and its own
        raise InputError(
            f"{name!r} is not a measure ({problem}); use names of ir-measures such as nDCG@10, RR@10, R@1000, AP, "
            "P@5 or Judged@10, or hit@1"
        ) from None
    if not supported:
        raise InputError(f"ir-measures knows {name} but no installed provider computes it; choose another measure")
    return measure
