"""Ids across the parts of a build: one text once, and every judgement about a text that is there."""

from __future__ import annotations

import logging

import polars as pl

from osparse.contracts.dataset import Dataset
from osparse.errors import DatasetError

MISSING = "missing or empty"
"""A query or document that a judgement names."""

log = logging.getLogger("osparse.corpus.builder.merge")


def merge_ids(table: pl.LazyFrame, what: str) -> tuple[pl.LazyFrame, int]:
    """The rows with each id once, and how many were left out; looks at 64-bit hashes, so memory is 16 bytes a row.

    Raises:
        DatasetError: two texts have one id, or an id that a source gave a document (its row has a place) is used twice.
    """
    hashes = table.select(pl.col("id").hash()).with_row_index("row").collect(engine="streaming")
    first = hashes.unique("id", keep="first", maintain_order=True)
    if first.height == hashes.height:
        return table, 0
    later = hashes.join(first, on="row", how="anti")
    suspects = hashes.join(later, on="id", how="semi")["row"]
    rows = table.with_row_index("row")
    again = rows.filter(pl.col("row").is_in(suspects.implode())).collect(engine="streaming").sort("row")
    for _, group in again.group_by("id", maintain_order=True):
        first_row, second_row = group.row(0, named=True), group.row(min(1, group.height - 1), named=True)
        given = what == "document" and group["place"].ne("").any()
        if group.height > 1 and (given or group["text"].n_unique() > 1):
            where, before = (row["place"] or row.get("source", "") for row in (second_row, first_row))
            raise DatasetError(
                f"{where or what}: the id {first_row['id']!r} was used before, at {before or 'another text'}; "
                "ids must be unique"
            )
    doubled = again.filter(pl.col("id").is_first_distinct().not_())["row"]
    return rows.filter(pl.col("row").is_in(doubled.implode()).not_()).drop("row"), doubled.len()


def known_judgements(
    judgements: pl.DataFrame, documents: pl.DataFrame, queries: pl.DataFrame, *, strict: bool = False
) -> tuple[pl.DataFrame, dict[str, int]]:
    """The judgements about queries and documents that were read, and reason -> how many were dropped.

    Published sets judge documents that they do not hold, or that have no text.

    Raises:
        DatasetError: none is left; with ``strict`` the place of the first that would be dropped.
    """
    dropped: dict[str, int] = {}
    known = judgements
    for column, table, what in (("query_id", queries, "query"), ("document_id", documents, "document")):
        lost = known.join(table, left_on=column, right_on="id", how="anti", maintain_order="left")
        if not lost.height:
            continue
        row = lost.row(0, named=True)
        example = f"{row['place'] or 'a judgement'}: {row[column]!r}"
        if strict:
            raise DatasetError(
                f"{example} is not among the {what} ids that were read with a text; {lost.height:,} judgements name "
                "such; without `strict=True` they are dropped"
            )
        dropped[f"{MISSING} {what}"] = lost.height
        known = known.join(table, left_on=column, right_on="id", how="semi", maintain_order="left")
        log.warning("%s judgements dropped: %s %s, as in %s", f"{lost.height:,}", MISSING, what, example)
    if dropped and not known.height:
        raise DatasetError(
            f"none of the {judgements.height:,} judgements names a query and a document that were read with a text, "
            f"for example {example}; are the files of one set?"
        )
    return known, dropped


def known_candidates(
    candidates: pl.LazyFrame, documents: pl.DataFrame, *, strict: bool = False
) -> tuple[pl.LazyFrame, dict[str, int]]:
    """The candidates about documents that were read, and reason -> how many were dropped.

    Raises :class:`DatasetError` with ``strict`` if any would be.
    """
    ids = documents.lazy().select(document_id="id")
    lost = candidates.join(ids, on="document_id", how="anti").select("document_id").collect(engine="streaming")
    if not lost.height:
        return candidates, {}
    example = f"{lost.height:,} candidates name a {MISSING} document, for example {lost['document_id'].min()!r}"
    if strict:
        raise DatasetError(f"{example}; without `strict=True` they are dropped")
    log.warning("dropped: %s", example)
    known = candidates.join(ids, on="document_id", how="semi", maintain_order="left")
    return known, {f"{MISSING} document of a candidate": lost.height}


def mean_scores(candidates: pl.LazyFrame) -> tuple[pl.LazyFrame, int]:
    """The candidates with one row for each query, document, origin and scorer, and how many rows were joined.

    Rows that say the same are one; a text that the same teacher scored several times for a query has their mean.
    """
    keys = ["query_id", "document_id", "origin", "scorer"]
    distinct = candidates.unique(maintain_order=True)
    hashes = distinct.select(pl.struct(keys).hash()).collect(engine="streaming").to_series()
    again = len(hashes) - hashes.n_unique()
    if not again:
        return distinct, 0
    log.warning(
        "%s scores are of a query and text that the same teacher scored before: their mean is taken", f"{again:,}"
    )
    joined = distinct.group_by(keys, maintain_order=True).agg(pl.col("label").max(), pl.col("score").mean())
    return joined.select(candidates.collect_schema().names()), again


def refuse_dropped(dataset: Dataset) -> None:
    """Raise :class:`DatasetError` if judgements were dropped when the dataset was made."""
    removed = dataset.manifest.notes.get("judgements_removed", {})
    dropped = [f"{rows:,} of a {reason}" for reason, rows in removed.items() if reason.startswith(MISSING)]
    if dropped:
        raise DatasetError(
            f"{dataset.path} was made without judgements that `strict=True` refuses: {', '.join(dropped)}; mend the "
            "source, or build without it"
        )
