"""The pool of several runs: the documents near the top of any of them that nobody has judged yet."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from osparse.errors import InputError
from osparse.evaluation.measures import Benchmark, open_benchmark, without_query
from osparse.io.files import require_free, write_atomic
from osparse.retrieval.systems.run_file import RunFile

if TYPE_CHECKING:
    import polars as pl

COLUMNS = ("query_id", "query", "document_id", "document", "grade")
"""Of the file to judge; ``grade`` is empty until somebody fills it in."""
_FORMULA = ("=", "+", "-", "@", "\t")
"""First characters by which a spreadsheet takes a cell for a formula."""


@dataclass(frozen=True)
class Pool:
    path: Path
    queries: int
    """Queries with at least one document to judge."""
    to_judge: int
    """Pairs of query and document written."""
    judged: int
    """Pairs near the top of the runs that are judged already."""


def pool(
    runs: Sequence[Path | str],
    data: Benchmark | Path | str,
    output: Path | str,
    *,
    depth: int = 10,
    overwrite: bool = False,
) -> Pool:
    """Write the unjudged documents among the first ``depth`` of any run, query by query.

    The order within a query is neither a rank nor a system's, so that it does not sway the judge.

    Args:
        runs: TREC run files (osparse evaluate writes them).
        data: A benchmark, a dataset directory or a BEIR folder (test split), whose documents are in the runs.
        output: A ``.csv`` file for people (UTF-8 with a mark that spreadsheets know), or ``.jsonl`` for programs.
        depth: Documents per query and direction that are looked at in each run.
        overwrite: Replace ``output``.

    Raises:
        InputError: ``output`` exists or has another suffix, a run cannot be read or ranks no judged query.
    """
    target = Path(output)
    if target.suffix not in _WRITERS:
        raise InputError(f"`output` must end in {' or '.join(_WRITERS)}, got {target.name}")
    require_free(target, overwrite, "judgements")
    if depth < 1:
        raise InputError(f"`depth` must be at least 1, got {depth}")
    benchmark = data if isinstance(data, Benchmark) else open_benchmark(data)
    pairs, judged = _pairs([RunFile(Path(run)) for run in runs], benchmark, depth)
    rows = list(_rows(benchmark, pairs))
    write_atomic(target, _WRITERS[target.suffix](rows))
    return Pool(target, sum(map(bool, pairs.values())), len(rows), judged)


def _pairs(runs: Sequence[RunFile], data: Benchmark, depth: int) -> tuple[dict[str, set[str]], int]:
    """Query id -> unjudged documents, and the number of judged pairs."""
    unjudged: dict[str, set[str]] = {}
    judged_pairs = set[tuple[str, str]]()
    for run in runs:
        run.check_queries(data.sets)
        for judged in data.sets:
            ranked = without_query(run.run(judged, depth + 1), judged.qrels)
            for query, ranking in ranked.items():
                known = judged.qrels[query].keys() | judged.not_relevant.get(query, frozenset())
                judged_pairs |= {(query, document) for document in ranking[:depth] if document in known}
                unjudged.setdefault(query, set()).update(d for d in ranking[:depth] if d not in known)
    return unjudged, len(judged_pairs)


def _rows(data: Benchmark, pairs: Mapping[str, set[str]]) -> Iterator[dict[str, str | None]]:
    queries = {query: text for judged in data.sets for query, text in judged.queries.items()}
    texts = _texts(data.documents, {document for documents in pairs.values() for document in documents})
    for query, documents in pairs.items():
        for document in sorted(documents, key=lambda document: _shuffled(query, document)):
            values = (query, queries[query], document, texts[document], None)
            yield dict(zip(COLUMNS, values, strict=True))


def _shuffled(query: str, document: str) -> bytes:
    return hashlib.sha256(f"{query}\0{document}".encode()).digest()


def _texts(documents: pl.LazyFrame, ids: set[str]) -> dict[str, str]:
    import polars as pl

    chosen = pl.LazyFrame({"id": sorted(ids)}, schema={"id": pl.String})
    return dict(documents.join(chosen, on="id", how="semi").select("id", "text").collect().iter_rows())


def _csv(rows: Sequence[Mapping[str, str | None]]) -> bytes:
    """A cell of text that a spreadsheet would take for a formula gets a ' before it; ids stay as they are."""
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS)
    writer.writeheader()
    for row in rows:
        shown = {name: f"'{row[name]}" for name in ("query", "document") if (row[name] or "").startswith(_FORMULA)}
        writer.writerow({**row, **shown})
    return file.getvalue().encode("utf-8-sig")


def _jsonl(rows: Sequence[Mapping[str, str | None]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


_WRITERS = {".csv": _csv, ".jsonl": _jsonl}
