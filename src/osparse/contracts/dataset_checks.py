"""What a dataset's files and tables must hold; memory grows with ids, never with text."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from osparse.io.files import sha256_file

if TYPE_CHECKING:
    from osparse.contracts.dataset import Source

SETTLED = 2.0
"""Seconds after which a file's times tell one content from the next; a file that changed since is hashed again."""
ORIGINS = ("annotated", "mined", "distilled")
NO_QRELS = "  - there are queries and no qrels: nothing says which document answers which query"
Tables = Mapping[str, pl.LazyFrame]
"""``documents``, ``queries``, ``qrels.train``, ``candidates.train``, ... -> its rows."""


def content_problems(tables: Tables, sources: Iterable[Source]) -> list[str]:
    """Everything that is wrong, one line each; empty where the tables fit together."""
    problems = [line for source in sources for line in _source(source)]
    for name in ("documents", "queries"):
        problems += _texts(name, tables[name])
    judged = 0
    for name, table in tables.items():
        kind, _, split = name.partition(".")
        if kind == "qrels":
            judged += _count(table)
            problems += [*_known(name, table, tables), *_qrels(name, table)]
        elif kind == "candidates":
            problems += [*_known(name, table, tables), *_candidates(name, table, tables.get(f"qrels.{split}"))]
    if not judged and _count(tables["queries"]):
        problems.append(NO_QRELS)
    if not _count(tables["documents"]):
        problems.append("  - there are no documents")
    return problems


def _source(source: Source) -> Iterator[str]:
    if source.rows_kept == 0:
        why = ", ".join(f"{n} {reason}" for reason, n in source.dropped.items()) or "it was empty"
        yield f"  - source {source.name} kept 0 of {source.rows_in} rows ({why})"
    if source.rows_in != source.rows_kept + sum(source.dropped.values()):
        yield f"  - source {source.name}: rows kept and dropped do not add up to {source.rows_in}"


def _texts(name: str, table: pl.LazyFrame) -> Iterator[str]:
    # 64-bit hashes first: 8 bytes for a row instead of its id; ids are compared only if two hashes are equal
    hashes = table.select(pl.col("id").hash(), missing=pl.col("id").is_null()).collect(engine="streaming")
    if hashes["missing"].any() or hashes["id"].n_unique() != hashes.height:
        ids = table.select("id").collect()["id"]
        if ids.null_count() or ids.n_unique() != ids.len():
            twice = ids.filter(ids.is_duplicated()).head(3).to_list()
            yield f"  - {name}: ids are not unique or missing, for example {twice}"
    blank = table.filter(pl.col("text").fill_null("").str.strip_chars() == "").select("id").collect(engine="streaming")
    if blank.height:
        yield f"  - {name}: {blank.height} without text, for example {blank['id'].head(3).to_list()}"


def _known(name: str, table: pl.LazyFrame, tables: Tables) -> Iterator[str]:
    for column, target in (("query_id", "queries"), ("document_id", "documents")):
        known = tables[target].select("id")
        lost = table.select(column).join(known, left_on=column, right_on="id", how="anti").collect(engine="streaming")
        if lost.height:
            yield f"  - {name}: {lost.height} rows name unknown {target}, for example {lost[column][0]!r}"


def _qrels(name: str, table: pl.LazyFrame) -> Iterator[str]:
    if _count(table.filter(pl.col("score").is_finite().fill_null(False).not_())):
        yield f"  - {name}: every score must be a finite number (of 32 bits)"
    yield from _origins(name, table)
    if _repeated(table, "query_id", "document_id"):
        yield f"  - {name}: the same query and document are judged twice"


def _candidates(name: str, table: pl.LazyFrame, qrels: pl.LazyFrame | None) -> Iterator[str]:
    if qrels is None:
        yield f"  - {name}: the split has no qrels; a query belongs to a split by its qrels"
        return
    lost = table.join(qrels, on="query_id", how="anti").select("query_id").collect(engine="streaming")
    if lost.height:
        yield f"  - {name}: {lost.height} rows are of queries without qrels in the split, as {lost['query_id'][0]!r}"
    numbers = (pl.col("label"), pl.col("score"))
    if _count(table.filter(pl.any_horizontal(column.is_finite().not_() for column in numbers))):
        yield f"  - {name}: every label and score must be a finite number (of 32 bits), or null"
    if _count(table.filter(pl.all_horizontal(column.is_null() for column in numbers))):
        yield f"  - {name}: a row needs a label, a score or both"
    if _count(table.filter(pl.col("score").is_null() != (pl.col("scorer").fill_null("") == ""))):
        yield f"  - {name}: scorer must name what gave the score, and be empty where there is no score"
    yield from _origins(name, table)
    if _repeated(table, "query_id", "document_id", "origin", "scorer"):
        yield f"  - {name}: a query and document have two rows of the same origin and scorer"
    relevant = qrels.filter(pl.col("score") > 0)
    both = table.filter(pl.col("label") <= 0).join(relevant, on=["query_id", "document_id"], how="semi")
    if rows := _count(both):
        row = both.head(1).collect().row(0, named=True)
        yield (
            f"  - {name}: {rows} rows are labelled negative, and the qrels judge them relevant, for example "
            f"{row['query_id']!r} and {row['document_id']!r}"
        )


def _origins(name: str, table: pl.LazyFrame) -> Iterator[str]:
    if _count(table.filter(pl.col("origin").is_in(list(ORIGINS)).fill_null(False).not_())):
        yield f"  - {name}: origin must be one of {', '.join(ORIGINS)}"


def _repeated(table: pl.LazyFrame, *columns: str) -> bool:
    hashes = table.select(pl.struct(columns).hash().alias("hash")).collect(engine="streaming")["hash"]
    return hashes.n_unique() != hashes.len() and table.select(columns).collect().is_duplicated().any()


def _count(table: pl.LazyFrame) -> int:
    rows: int = table.select(pl.len()).collect(engine="streaming").item()
    return rows


def file_problems(path: Path, schema: Mapping[str, Any], rows: int | None, sha256: str | None) -> list[str]:
    """What is wrong with one Arrow file that should have these columns, rows and checksum."""
    if not path.is_file():
        return [f"  - {path.name} is missing"]
    try:
        columns = dict(pl.scan_ipc(path).collect_schema())
    except (pl.exceptions.PolarsError, OSError) as problem:
        return [f"  - {path.name} is not an Arrow file: {problem}"]
    if columns != dict(schema):
        return [f"  - {path.name} has columns {json.dumps({k: str(v) for k, v in columns.items()})}"]
    height = pl.scan_ipc(path).select(pl.len()).collect().item()
    if height != rows:
        return [f"  - {path.name} has {height} rows, the manifest says {rows}"]
    if _sha256(path) != sha256:
        return [f"  - {path.name} was changed since the dataset was made: its sha256 is not the manifest's"]
    return []


def _sha256(path: Path) -> str:
    """The file's sha256, taken once in a process as long as the file is the same one of the same size and times."""
    status = path.stat()
    if time.time() - max(status.st_mtime, status.st_ctime) < SETTLED:
        return sha256_file(path)
    return _settled_sha256(path, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@lru_cache(maxsize=1024)
def _settled_sha256(path: Path, inode: int, size: int, modified: int, changed: int) -> str:
    return sha256_file(path)
