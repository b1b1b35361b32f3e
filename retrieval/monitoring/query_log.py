"""What users' queries say of an index: tokens that it has no weight for, and queries that find nothing."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osparse.errors import InputError
from osparse.io.streams import decoded, lines
from osparse.retrieval.queries import well_formed
from osparse.retrieval.searcher import Searcher

LATEST = 1000
"""Queries at the end of the log that are looked at."""
FIELDS = ("query", "user_query", "text")
"""Of a line that is a JSON object; ``user_query`` is the name in User Behavior Insights."""


@dataclass(frozen=True)
class QueryLog:
    """Shares over the queries that were looked at."""

    queries: int
    unknown_tokens: float
    """Of all tokens, those without a query weight."""
    zero_hits: float
    """Of all queries, those that find no document."""

    def __str__(self) -> str:
        return (
            f"the last {self.queries:,} queries of the log: {self.unknown_tokens:.1%} of their tokens are unknown, "
            f"{self.zero_hits:.1%} of them find nothing"
        )


def read_query_log(path: Path, latest: int = LATEST) -> list[str]:
    """The last queries of a log, oldest first: a query a line, or a JSON object with one of :data:`FIELDS`.

    Raises:
        InputError: a JSON object without a query, or no query at all.
    """
    texts = deque((text for _, text, _ in logged_queries(path)), maxlen=latest)
    if not texts:
        raise InputError(f"{path} has no query")
    return list(texts)


def logged_queries(path: Path) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """(path:line, text, the JSON object of the line or {}) of each query of a log, oldest first.

    A line is the query itself, or a JSON object with one of :data:`FIELDS` (also a hit with its ``_source``, as an
    export of an index holds it).
    """
    for where, line in lines(path):
        text, row = _query_of(decoded(line, where).strip(), where)
        if text:
            yield where, well_formed(text), row


def _query_of(line: str, where: str) -> tuple[str, Mapping[str, Any]]:
    if not line.startswith("{"):
        return line, {}
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        return line, {}  # a query may begin with a brace
    source = row.get("_source")
    row = source if isinstance(source, dict) else row
    for name in FIELDS:
        if isinstance(row.get(name), str):
            return str(row[name]).strip(), row
    raise InputError(f"{where}: the object has no query; give it one of the fields {', '.join(FIELDS)}")


def examine_queries(searcher: Searcher, texts: Sequence[str]) -> QueryLog:
    """Count the unknown tokens of queries, and ask the index which of them find nothing.

    Args:
        texts: At least one; one that comes again counts again.
    """
    counted = [searcher.encoder.count_unknown(text) for text in texts]
    different = list(dict.fromkeys(texts))
    hits = searcher.passes.hits(different, size=1)
    empty = {text for text, rows in zip(different, hits, strict=True) if not rows}
    tokens = sum(total for total, _ in counted)
    unknown = sum(number for _, number in counted)
    return QueryLog(len(texts), unknown / tokens if tokens else 0.0, sum(text in empty for text in texts) / len(texts))
