"""Dealing groups to train, validation and test, so that nothing held back is seen in training.

A group goes to one split by the md5 of its name. Identical texts tie groups of different splits together: such a
group loses its training judgements (its documents stay, as part of the searched corpus).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import polars as pl

from osparse.dataset import QRELS

ORDER = ("test", "validation", "train")
"""Whatever belongs to an earlier split is kept out of the later ones."""
RULE = (
    "by group: md5(group) % 5 == 0 is test, of the rest (md5(group) // 5) % 10 == 0 is validation, else train; "
    "no group is train; a seed other than 0 is put before the group as 'seed:group'; "
    "groups with a text of an earlier split (test, validation), and queries worded as one there, are kept out of the "
    "later ones"
)


def split_of(group: str, seed: int = 0) -> str:
    """The split of a group; "" (unknown) is never held back."""
    if not group:
        return "train"
    number = int(hashlib.md5((f"{seed}:{group}" if seed else group).encode(), usedforsecurity=False).hexdigest(), 16)
    if number % 5 == 0:
        return "test"
    return "validation" if (number // 5) % 10 == 0 else "train"


def same_text_relevant(judgements: pl.DataFrame, documents: pl.DataFrame) -> pl.DataFrame:
    """Judge every document whose text equals that of a relevant one as relevant too."""
    texts = documents.select("id", "text")
    twice = texts.filter(pl.col("text").is_duplicated())
    twins = twice.join(twice, on="text", suffix="_twin").filter(pl.col("id") != pl.col("id_twin"))
    more = (
        judgements.filter((pl.col("score") > 0) & (pl.col("origin") != "distilled"))
        .join(twins.select("id", "id_twin"), left_on="document_id", right_on="id")
        .with_columns(document_id="id_twin")
        .select(judgements.columns)
    )
    return best_judgements(pl.concat([judgements, more]))


def best_judgements(judgements: pl.DataFrame) -> pl.DataFrame:
    """One row per query and document: the highest score where a pair is judged more than once."""
    keys = ["query_id", "document_id", "split"]
    order = judgements.with_row_index("row").sort("score", "row", descending=[True, False])
    return order.unique(keys, keep="first", maintain_order=True).sort("row").drop("row")


class _Held:
    """What the earlier splits hold: texts and queries that the later ones may not learn from, groups tied by them."""

    def __init__(self) -> None:
        self._groups: set[str] = set()
        self._texts = pl.Series("text", [], pl.String)
        self._queries = pl.Series("query_text", [], pl.String)

    def add(self, part: pl.DataFrame, documents: pl.DataFrame) -> None:
        own = part.filter(pl.col("published").not_())
        self._texts = pl.concat([self._texts, own.filter(pl.col("score") > 0)["text"]]).unique()
        self._queries = pl.concat([self._queries, own["query_text"]]).unique()
        tied = documents.join(self._texts.to_frame(), on="text", how="semi")["group"]
        self._groups |= set(tied) - {""}

    def without_leaks(self, part: pl.DataFrame) -> pl.DataFrame:
        seen = pl.col("text").is_in(self._texts.implode()) & (pl.col("score") > 0)
        leaks = part.filter(
            pl.col("group").is_in(list(self._groups)) | seen | pl.col("query_text").is_in(self._queries.implode())
        ).filter(pl.col("published").not_())
        return part.join(leaks, on="query_id", how="anti", maintain_order="left")


def deal(
    judgements: pl.DataFrame, documents: pl.DataFrame, queries: pl.DataFrame, seed: int
) -> tuple[dict[str, pl.DataFrame], Mapping[str, int]]:
    """Split judgements (query_id, document_id, score, origin, group, split or null) into qrels, leaks removed.

    Splits that the source published are left as they are. Returns (split -> qrels, reason -> judgements removed).
    """
    groups = judgements["group"].unique().to_list()
    rule = {group: split_of(group, seed) for group in groups}
    judged = judgements.with_columns(
        pl.coalesce("split", pl.col("group").replace_strict(rule, return_dtype=pl.String)).alias("split"),
        published=pl.col("split").is_not_null(),
    ).join(documents.select(document_id="id", document_group="group", text="text"), on="document_id", how="left")
    queries = queries.select(query_id="id", query_text="text")
    judged = judged.join(queries, on="query_id", how="left")
    parts: dict[str, pl.DataFrame] = {}
    removed: dict[str, int] = {}
    held = _Held()
    for split in ORDER:
        mine = judged.filter(pl.col("split") == split)
        parts[split] = held.without_leaks(mine)
        if parts[split].height < mine.height:
            removed[f"{split}: a text or query of an earlier split"] = mine.height - parts[split].height
        held.add(parts[split], documents)
    owner = {group: split for split in reversed(ORDER) for group in parts[split]["group"].unique() if group}
    for split in ORDER:
        home = pl.col("document_group").replace_strict(owner, default=split, return_dtype=pl.String)
        clean = parts[split].filter((home == split) | (pl.col("document_group") == ""))
        if clean.height < parts[split].height:
            removed[f"{split}: the document belongs to another split"] = parts[split].height - clean.height
        parts[split] = clean.select(list(QRELS))
    return {split: part for split, part in parts.items() if part.height}, removed
