"""A BEIR folder (corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv) read as it lies, to be measured on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from osparse.errors import DatasetError
from osparse.files import fingerprint, read_jsonl, sha256_file

NO_LANGUAGE = "und"
"""Language tag of a text whose source names none (ISO 639: undetermined)."""


@dataclass(frozen=True)
class BeirFolder:
    documents: pl.LazyFrame
    """Columns id, text, lang; the text is title and text joined by a space, as BEIR encodes them."""
    queries: pl.LazyFrame
    """Columns id, text, lang."""
    qrels: pl.DataFrame
    """Columns query_id, document_id, score."""
    fingerprint: str
    """Of the three files."""


def read_beir(path: Path, split: str) -> BeirFolder:
    """Read one split; raises :class:`DatasetError` naming the file and line that cannot be used."""
    qrels_file = path / "qrels" / f"{split}.tsv"
    if not qrels_file.is_file():
        there = ", ".join(sorted(file.stem for file in (path / "qrels").glob("*.tsv"))) or "none"
        raise DatasetError(f"{path} has no {split} qrels; it has: {there}; choose one with --split")
    files = [path / "corpus.jsonl", path / "queries.jsonl", qrels_file]
    documents, queries = (_texts(file) for file in files[:2])
    return BeirFolder(documents, queries, _qrels(qrels_file), fingerprint([sha256_file(file) for file in files]))


def _texts(path: Path) -> pl.LazyFrame:
    columns = {"id": pl.String, "text": pl.String, "lang": pl.String}
    return pl.DataFrame(list(_rows(path)), schema=columns, orient="row").lazy()


def _rows(path: Path) -> Iterator[tuple[str, str, str]]:
    """(id, text, language); the language is that of a ``lang`` key, in the row or in its ``metadata``."""
    for number, row in read_jsonl(path, DatasetError):
        if not isinstance(row.get("_id"), str) or not isinstance(row.get("text"), str):
            raise DatasetError(f'{path}:{number}: expected {{"_id": "..", "text": ".."}}, found keys {list(row)}')
        metadata = row.get("metadata")
        lang = row.get("lang") or (metadata.get("lang") if isinstance(metadata, dict) else None) or NO_LANGUAGE
        yield row["_id"], f"{row.get('title') or ''} {row['text']}".strip(), str(lang)


def _qrels(path: Path) -> pl.DataFrame:
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        cells = line.split("\t")
        if number == 1 and cells[0] == "query-id":
            continue
        try:
            query, document, score = cells
            rows.append((query, document, float(score)))
        except ValueError:
            raise DatasetError(
                f"{path}:{number}: expected query-id, corpus-id and score between tabs, found {line[:80]!r}"
            ) from None
    columns = {"query_id": pl.String, "document_id": pl.String, "score": pl.Float32}
    return pl.DataFrame(rows, schema=columns, orient="row")
