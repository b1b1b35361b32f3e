"""TREC run and qrels files: what osparse writes for other tools, and what it reads from them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from osparse.errors import InputError
from osparse.evaluation.beir import names_columns
from osparse.evaluation.measures import JudgedSet, without_query
from osparse.io.files import sha256_file, write_atomic
from osparse.io.streams import decoded, lines
from osparse.retrieval.systems.system import Run, System


class RunFile(System):
    """The rankings of a TREC run file: ``query Q0 document rank score tag`` on each line.

    As trec_eval does, the score decides the order, and equal scores are ordered by falling document id; the rank
    column is not read. Documents that are not of the judged set's language are passed over.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name.removesuffix(".gz").removesuffix(".run") or path.name
        self._rankings = read_run(path)

    def key(self) -> dict[str, Any]:
        return {"run": sha256_file(self.path)}

    def description(self) -> dict[str, Any]:
        return {"kind": "run", "file": self.path.name}

    def run(self, judged: JudgedSet, depth: int) -> Run:
        allowed = frozenset(judged.document_ids)
        return {query: _first(self._rankings.get(query, {}), allowed, depth) for query in judged.qrels}

    def check_queries(self, sets: Iterable[JudgedSet]) -> None:
        """Raise :class:`InputError` if the run has none of the judged queries."""
        judged = {query for judged_set in sets for query in judged_set.qrels}
        if not judged & self._rankings.keys():
            raise InputError(
                f"{self.path} ranks none of the {len(judged):,} judged queries (it has {_some(self._rankings)}, the "
                f"judgements have {_some(judged)}); give the run of these queries, or their judgements"
            )


def _some(ids: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in sorted(ids)[:2]) or "none"


def _first(ranking: Mapping[str, float], allowed: frozenset[str], depth: int) -> dict[str, float]:
    """The first ``depth`` documents, of ``allowed`` ones unless it is empty."""
    chosen = ((d, score) for d, score in ranking.items() if not allowed or d in allowed)
    return dict(pair for pair, _ in zip(chosen, range(depth), strict=False))


def read_run(path: Path) -> Run:
    """Raises :class:`InputError` with path:line for what is no run file."""
    scores: Run = {}
    for where, cells in _rows(path, 6, "query Q0 document rank score tag"):
        query, document, score = cells[0], cells[2], _number(cells[4], where)
        if document in scores.setdefault(query, {}):
            raise InputError(f"{where}: query {query} ranks document {document} twice; each document may be there once")
        scores[query][document] = score
    # Two stable sorts: by falling id, then by falling score.
    return {
        query: dict(sorted(sorted(ranking.items(), reverse=True), key=lambda pair: -pair[1]))
        for query, ranking in scores.items()
    }


def read_qrels_file(path: Path) -> JudgedSet:
    """Judgements as ``query 0 document grade`` (TREC) or ``query document grade`` (BEIR, a header may come first).

    Raises :class:`InputError` with path:line for what is neither and for a pair with two grades, and for a file without
    a relevant document.
    """
    qrels: dict[str, dict[str, int]] = {}
    zeros: dict[str, set[str]] = {}
    judged: dict[tuple[str, str], float] = {}
    for where, cells in _rows(path, (3, 4), "query 0 document grade"):
        if where.endswith(":1") and names_columns(cells):
            continue
        query, document, grade = cells[0], cells[-2], _number(cells[-1], where)
        if not grade.is_integer():
            raise InputError(f"{where}: the grade must be a whole number, got {cells[-1]}")
        if judged.setdefault((query, document), grade) != grade:
            raise InputError(
                f"{where}: document {document} is judged {judged[query, document]:g} for query {query} before, and "
                f"{grade:g} here; keep one"
            )
        if grade >= 1:
            qrels.setdefault(query, {})[document] = int(grade)
        else:
            zeros.setdefault(query, set()).add(document)
    if not qrels:
        raise InputError(f"{path} has no judgement of grade 1 or more, so there is nothing to measure")
    not_relevant = {query: frozenset(ids) for query, ids in zeros.items() if query in qrels}
    return JudgedSet("", "", {}, [], qrels, frozenset(), not_relevant)


def _rows(path: Path, columns: int | tuple[int, int], expected: str) -> Iterator[tuple[str, list[str]]]:
    wanted = (columns,) if isinstance(columns, int) else columns
    if not path.is_file():
        raise InputError(f"{path} is not a file; give a file with lines of: {expected}")
    for where, raw in lines(path, may_be_empty=True, bar=False):
        line = decoded(raw, where)
        cells = line.split()
        if not cells or line.startswith("#"):  # trec_eval takes such lines for comments
            continue
        if len(cells) not in wanted:
            raise InputError(f"{where}: expected {expected}, found {len(cells)} columns: {' '.join(cells)[:80]!r}")
        yield where, cells


def _number(text: str, where: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{where}: expected a finite number, got {text!r}")
    return number


def run_path(folder: Path, system: str) -> Path:
    return folder / f"{re.sub('[^A-Za-z0-9._-]+', '-', system)}.run"


def write_run(path: Path, sets: Iterable[tuple[JudgedSet, Run]], system: str) -> None:
    """Write the rankings of all directions as one TREC run file.

    The document of a query's own id is left out, as the measures leave it out. Scores are written as float32; each is
    at least one float32 step below the one before it, so that trec_eval, which orders equal scores in its own way, sees
    the order of this run.
    """
    tag, merged = re.sub(r"\s+", "-", system), dict[str, dict[str, float]]()
    for judged, run in sets:
        for query, ranking in without_query(run, judged.qrels).items():
            merged.setdefault(query, {}).update((document, run[query][document]) for document in ranking)
    text = "".join(_lines_of(merged, tag))
    write_atomic(path, text)


def _lines_of(rankings: Mapping[str, Mapping[str, float]], tag: str) -> Iterator[str]:
    for query, ranking in rankings.items():
        previous = np.float32(np.inf)
        for rank, (document, score) in enumerate(sorted(ranking.items(), key=lambda pair: -pair[1]), start=1):
            previous = min(np.float32(score), np.nextafter(previous, np.float32(-np.inf)))
            yield f"{_one_word(query)} Q0 {_one_word(document)} {rank} {previous:.9g} {tag}\n"


def write_qrels(path: Path, sets: Iterable[JudgedSet]) -> None:
    """Write the judgements of all directions as one TREC qrels file."""
    rows: dict[str, dict[str, int]] = {}
    for judged in sets:
        for query, grades in judged.qrels.items():
            zeros = dict.fromkeys(sorted(judged.not_relevant.get(query, ())), 0)
            rows.setdefault(query, {}).update({**zeros, **grades})
    text = "".join(
        f"{_one_word(query)} 0 {_one_word(document)} {grade}\n"
        for query, grades in rows.items()
        for document, grade in grades.items()
    )
    write_atomic(path, text)


def _one_word(name: str) -> str:
    if not name or name.split() != [name]:
        raise InputError(f"the id {name!r} holds white space, which a TREC file cannot; rename it to write runs")
    return name
