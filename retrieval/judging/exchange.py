"""Judgements in the formats of other programs: Quepid's CSV and OpenSearch's Search Relevance Workbench.

Quepid's basic CSV has the columns query, docid and rating. The workbench takes query sets and judgements as the bodies
of ``PUT /_plugins/_search_relevance/query_sets`` and ``PUT /_plugins/_search_relevance/judgments``. All of them name
queries by their text.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osparse.errors import InputError
from osparse.evaluation.measures import Benchmark, open_benchmark
from osparse.io.files import pretty_json, read_json, require_free, write_atomic

QUEPID_COLUMNS = {"query": "query", "docid": "document_id", "rating": "grade"}
_FORMULA = ("=", "+", "-", "@", "\t")
_MAX_NAME = 50
"""Characters of a name in the workbench."""

Judgements = Mapping[str, Mapping[str, int]]
"""Query text -> document id -> grade."""


@dataclass(frozen=True)
class Exported:
    path: Path
    queries: int
    """Different query texts."""
    judgements: int
    """Pairs of query text and document; 0 for a query set, which has none."""


def export_judgements(
    data: Benchmark | Path | str, output: Path | str, *, format: str, overwrite: bool = False
) -> Exported:
    """Write the judgements or queries of ``data`` for another program.

    Args:
        data: A benchmark, a dataset directory or a BEIR folder (test split).
        output: A ``.csv`` file for quepid, a ``.json`` file for the others.
        format: quepid, workbench-judgements or workbench-queries.
        overwrite: Replace ``output``.

    Raises:
        InputError: a format or suffix that is not known, ``output`` exists, or queries of the same text have different
            grades for a document.
    """
    target = Path(output)
    if format not in FORMATS:
        raise InputError(f"`format` must be {', '.join(FORMATS)}, got {format!r}")
    suffix, write = FORMATS[format]
    if target.suffix != suffix:
        raise InputError(f"`output` must end in {suffix} for {format}, got {target.name}")
    require_free(target, overwrite)
    judgements = _by_text(data if isinstance(data, Benchmark) else open_benchmark(data))
    write_atomic(target, write(target.stem[:_MAX_NAME], judgements))
    pairs = 0 if format == "workbench-queries" else sum(map(len, judgements.values()))
    return Exported(target, len(judgements), pairs)


def _by_text(data: Benchmark) -> dict[str, dict[str, int]]:
    by_text: dict[str, dict[str, int]] = {}
    for judged in data.sets:
        for query, grades in judged.qrels.items():
            merged = by_text.setdefault(judged.queries[query], {})
            for document, grade in {**dict.fromkeys(judged.not_relevant.get(query, ()), 0), **grades}.items():
                if merged.setdefault(document, grade) != grade:
                    raise InputError(
                        f"two queries {judged.queries[query]!r} have the grades {merged[document]} and {grade} for the "
                        f"document {document}, and the format names queries by their text; make the grades equal"
                    )
    return by_text


def _quepid(name: str, judgements: Judgements) -> str:
    """A query that a spreadsheet would take for a formula gets a space before it."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(QUEPID_COLUMNS)
    for query, grades in judgements.items():
        shown = f" {query}" if query.startswith(_FORMULA) else query
        writer.writerows((shown, document, grade) for document, grade in grades.items())
    return file.getvalue()


def _workbench_judgements(name: str, judgements: Judgements) -> str:
    ratings = [
        {"query": query, "ratings": [{"docId": document, "rating": f"{grade:.3f}"} for document, grade in by.items()]}
        for query, by in judgements.items()
    ]
    return pretty_json({"name": name, "type": "IMPORT_JUDGMENT", "judgmentRatings": ratings})


def _workbench_queries(name: str, judgements: Judgements) -> str:
    queries = [{"queryText": query} for query in judgements]
    return pretty_json({"name": name, "sampling": "manual", "querySetQueries": queries})


FORMATS = {
    "quepid": (".csv", _quepid),
    "workbench-judgements": (".json", _workbench_judgements),
    "workbench-queries": (".json", _workbench_queries),
}


def quepid_row(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row of a CSV file with the columns of :mod:`osparse.retrieval.judging.pool` if it has those of Quepid."""
    columns = {name.strip().lower(): name for name in row if name}
    if not QUEPID_COLUMNS.keys() <= columns.keys():
        return row
    return {ours: row[columns[theirs]] for theirs, ours in QUEPID_COLUMNS.items()}


def workbench_rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The judgements of a request of the workbench, or of its answer to ``GET .../judgments/<id>``."""
    content = read_json(path)
    hits = content.get("hits") if isinstance(content, dict) else None
    bodies = [hit.get("_source") for hit in hits["hits"]] if isinstance(hits, dict) else [content]
    for body in bodies:
        lists = body.get("judgmentRatings") if isinstance(body, dict) else None
        if not isinstance(lists, list):
            raise InputError(f"{path} has no judgmentRatings; give the workbench's judgements as JSON")
        for number, of_query in enumerate(lists, start=1):
            where = f"{path}: judgmentRatings {number}"
            if not isinstance(of_query, dict) or not isinstance(of_query.get("ratings"), list):
                raise InputError(f"{where}: needs query and a list of ratings")
            for rating in of_query["ratings"]:
                if not isinstance(rating, dict) or "query" not in of_query or "docId" not in rating:
                    raise InputError(f"{where}: needs query, and docId and rating in each of its ratings")
                grade = rating.get("rating")
                yield where, {"query": of_query["query"], "document_id": rating["docId"], "grade": grade}
