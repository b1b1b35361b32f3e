"""A BEIR folder (corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv): its rules, and reading it as it lies to measure on."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from osparse.algorithms.language import UNDETERMINED, guess_language, settle_guesses
from osparse.errors import DatasetError
from osparse.io.files import fingerprint, sha256_file
from osparse.io.streams import decoded, find, json_rows, lines
from osparse.rows.ids import id_of, plain_id

log = logging.getLogger("osparse.evaluation.beir")

NO_LANGUAGE = UNDETERMINED
MAX_SCORE = float(np.finfo(np.float32).max)
"""Scores are stored in 32 bits."""


_QUERY_COLUMN = re.compile(r"query|topic|qid|(query|topic)[-_ ]?(id|number)", re.IGNORECASE)


class Qrel(NamedTuple):
    """One row of a qrels file."""

    where: str
    """path:line"""
    query_id: str
    document_id: str
    score: float


@dataclass(frozen=True, eq=False)
class BeirFolder:
    documents: pl.LazyFrame
    """Columns id, text, lang; the text is title and text joined by a space, as BEIR encodes them."""
    queries: pl.LazyFrame
    """Columns id, text, lang."""
    qrels: pl.DataFrame
    """Columns query_id, document_id, score."""
    fingerprint: str
    """Of the three files."""


def read_beir(path: Path, split: str, lang: str | None = None, *, strict: bool = False) -> BeirFolder:
    """Read one split; raises :class:`DatasetError` naming the file and line that cannot be used.

    Args:
        lang: The language of every text; None: the one that its row names, else the one that is detected.
        strict: Refuse a pair of query and document with two grades; else the last one counts, with a warning.
    """
    qrels_file = find(path / "qrels", f"{split}.tsv")
    if qrels_file is None:
        there = ", ".join(sorted({file.name.split(".tsv")[0] for file in (path / "qrels").glob("*.tsv*")})) or "none"
        raise DatasetError(f"{path} has no {split} qrels; it has: {there}; choose one with --split")
    files = [*(find(path, name) or path / name for name in ("corpus.jsonl", "queries.jsonl")), qrels_file]
    documents, queries = (_texts(file, lang) for file in files[:2])
    content = [*(sha256_file(file) for file in files), *([lang] if lang is not None else [])]
    return BeirFolder(documents, queries, _qrels(qrels_file, strict), fingerprint(content))


def _texts(path: Path, lang: str | None) -> pl.LazyFrame:
    """Columns id, text, lang; languages that no row names are detected, as ``osparse corpus build`` does."""
    columns = {"id": pl.String, "text": pl.String, "lang": pl.String, "guess": pl.String}
    table = pl.DataFrame(list(_rows(path, lang)), schema=columns, orient="row")
    guesses = table.filter(pl.col("text").str.strip_chars() != "")["guess"]
    settled = settle_guesses(Counter(guesses.drop_nulls()))
    return table.select("id", "text", lang=pl.coalesce("lang", pl.col("guess").replace(settled))).lazy()


def _rows(path: Path, of_all: str | None) -> Iterator[tuple[str, str, str | None, str | None]]:
    """(id, text, the language ``of_all`` or that the row names, else the one that the text is guessed to be in)."""
    for where, row in json_rows(path, bar=False):
        name = plain_id(id_of(row))
        if name is None or not isinstance(row.get("text"), str):
            raise DatasetError(f'{where}: expected {{"_id": "..", "text": ".."}}, found keys {list(row)}')
        text, lang = f"{row.get('title') or ''} {row['text']}".strip(), of_all or row_language(row, where)
        yield name, text, lang or None, None if lang else guess_language(text)


def row_language(row: Mapping[str, Any], where: str) -> str:
    """The row's ``lang``, else that of its ``metadata``, else ""."""
    metadata = row.get("metadata")
    lang = row.get("lang") or (metadata.get("lang") if isinstance(metadata, dict) else None) or ""
    if not isinstance(lang, str):
        raise DatasetError(f"{where}: lang must be a string, found {type(lang).__name__}")
    return lang


def read_qrels(path: Path) -> Iterator[Qrel]:
    """The judgements of a qrels file: query-id, corpus-id and score between tabs; their names may stand first.

    Raises :class:`DatasetError` with path:line for a row that is not UTF-8, not of that shape, or of no finite score.
    """
    for where, raw in lines(path, may_be_empty=True, bar=False):
        line = decoded(raw, where)
        if not (where.endswith(":1") and names_columns(line.split("\t"))):
            yield _qrel(line, where)


def names_columns(cells: Sequence[str]) -> bool:
    """Whether the first line of a qrels file names its columns, such as query-id, corpus-id, score; or query_id."""
    return bool(_QUERY_COLUMN.fullmatch(cells[0].strip())) and cells[-1].strip().isalpha()


def _qrel(line: str, where: str) -> Qrel:
    cells = line.split("\t")
    try:
        query, document, score = cells[0], cells[1], float(cells[2])
    except (IndexError, ValueError):
        query = ""
    if not query or not document or len(cells) != 3:
        raise DatasetError(
            f"{where}: expected query-id, corpus-id and a number as score between tabs, found {line[:80]!r}"
        )
    if not abs(score) <= MAX_SCORE:
        raise DatasetError(f"{where}: the score must be a finite number, found {cells[2]!r}")
    return Qrel(where, query, document, score)


def _qrels(path: Path, strict: bool) -> pl.DataFrame:
    """Each pair once: of two grades the last counts, as in BEIR's own loader."""
    columns = {"query_id": pl.String, "document_id": pl.String, "score": pl.Float32}
    table = pl.DataFrame([row[1:] for row in read_qrels(path)], schema=columns, orient="row")
    pair = ["query_id", "document_id"]
    grades = table.group_by(pair, maintain_order=True).agg(pl.col("score").unique(maintain_order=True))
    several = grades.filter(pl.col("score").list.len() > 1)
    if several.height:
        query, document, values = several.row(0)
        listed = " and ".join(f"{value:g}" for value in values)
        message = f"{path}: {several.height} pairs have several grades, for example {query} {document}: {listed}"
        if strict:
            raise DatasetError(f"{message}; keep one, or leave `strict` out to take the last")
        log.warning("%s; the last one counts", message)
    return table.unique(pair, keep="last", maintain_order=True)
