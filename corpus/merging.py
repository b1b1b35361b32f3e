"""Ids across the parts of a build: one text once, and every judgement about a text that is there."""

from __future__ import annotations

import polars as pl

from osparse.errors import DatasetError


def merge_ids(table: pl.LazyFrame, what: str) -> tuple[pl.LazyFrame, int]:
    """The rows with each id once, and how many were left out; looks at 64-bit hashes, so memory is 16 bytes a row.

    Raises:
        DatasetError: an id that a source gave (its row has a place) is used twice, or two texts have one id.
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
        one, other = group.row(0, named=True), group.row(min(1, group.height - 1), named=True)
        if group.height > 1 and (group["place"].ne("").any() or group["text"].n_unique() > 1):
            where = f"{other['place'] or other.get('source') or what}: the id {one['id']!r} was used before"
            raise DatasetError(f"{where}, at {one['place'] or one.get('source') or 'another text'}; ids must be unique")
    doubled = again.filter(pl.col("id").is_first_distinct().not_())["row"]
    return rows.filter(pl.col("row").is_in(doubled.implode()).not_()).drop("row"), doubled.len()


def refuse_unknown(judgements: pl.DataFrame, documents: pl.DataFrame, queries: pl.DataFrame) -> None:
    """Raise :class:`DatasetError` with the place of the first judgement about an id that was not read."""
    for column, known, what in (("query_id", queries, "queries"), ("document_id", documents, "documents")):
        lost = judgements.join(known, left_on=column, right_on="id", how="anti", maintain_order="left")
        if lost.height:
            row = lost.row(0, named=True)
            raise DatasetError(
                f"{row['place'] or 'a judgement'}: {row[column]!r} is not among the {what} that were read"
            )
