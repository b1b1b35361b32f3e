"""Assigns groups to train, validation and test, so that nothing held back is seen in training.

A group goes to one split by the md5 of its name. Identical texts tie groups of different splits together: such a
group loses its training judgements (its documents stay, as part of the searched corpus).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import polars as pl

from osparse.contracts.dataset import CANDIDATES, QRELS

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
    """Judge every document whose text equals that of a relevant one as relevant too.

    ``documents``: id and text (or a hash of it) of those to which this applies.
    """
    twice = documents.select("id", "text").filter(pl.col("text").is_duplicated())
    copies = twice.join(twice, on="text", suffix="_copy").filter(pl.col("id") != pl.col("id_copy"))
    more = (
        judgements.filter((pl.col("score") > 0) & (pl.col("origin") != "distilled"))
        .join(copies.select("id", "id_copy"), left_on="document_id", right_on="id")
        .with_columns(document_id="id_copy")
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
        self.texts = pl.Series("text", [], pl.UInt64)
        self._queries = pl.Series("query_text", [], pl.UInt64)

    def add(self, part: pl.DataFrame, documents: pl.DataFrame) -> None:
        self.texts = pl.concat([self.texts, part.filter(pl.col("score") > 0)["text"]]).unique()
        self._queries = pl.concat([self._queries, part["query_text"]]).unique()
        tied = documents.join(self.texts.to_frame(), on="text", how="semi")["group"]
        self._groups |= set(tied) - {""}

    def without_leaks(self, part: pl.DataFrame) -> pl.DataFrame:
        seen = pl.col("text").is_in(self.texts.implode()) & (pl.col("score") > 0)
        leaks = part.filter(
            pl.col("group").is_in(list(self._groups)) | seen | pl.col("query_text").is_in(self._queries.implode())
        ).filter(pl.col("published").not_())
        return part.join(leaks, on="query_id", how="anti", maintain_order="left")


@dataclass(frozen=True, eq=False)
class AssignedSplits:
    qrels: dict[str, pl.DataFrame]
    """Split -> columns of QRELS; only splits with rows."""
    removed: dict[str, int]
    """Reason -> judgements."""
    owner: pl.DataFrame
    """Columns document_group, home: the split whose judgements the group belongs to."""
    held: dict[str, pl.Series]
    """Split -> hashes of the relevant texts of the splits before it, which it may not learn from."""


def assign_splits(
    judgements: pl.DataFrame, documents: pl.DataFrame, queries: pl.DataFrame, seed: int
) -> AssignedSplits:
    """Split judgements (query_id, document_id, score, origin, group, split or null) into qrels, leaks removed.

    A column ``alike``, if there is one, says the split of some of them in place of the rule.

    Texts are compared by hash, so that none is held: ``documents`` has id, group, text; ``queries`` id, text; each
    ``text`` a 64-bit hash. Splits that the source published are left as they are; what they hold back is kept out of
    the splits that are assigned here.
    """
    rule = judgements.select(pl.col("group").unique())
    rule = rule.with_columns(assigned=pl.col("group").map_elements(lambda g: split_of(g, seed), return_dtype=pl.String))
    alike = ["alike"] if "alike" in judgements.columns else []
    judged = (
        judgements.join(rule, on="group", how="left", maintain_order="left")
        .with_columns(published=pl.col("split").is_not_null(), split=pl.coalesce("split", *alike, "assigned"))
        .join(documents.select(document_id="id", document_group="group", text="text"), on="document_id", how="left")
        .join(queries.select(query_id="id", query_text="text"), on="query_id", how="left")
    )
    parts: dict[str, pl.DataFrame] = {}
    removed: dict[str, int] = {}
    held, texts = _Held(), {}
    for split in ORDER:
        of_split = judged.filter(pl.col("split") == split)
        parts[split] = held.without_leaks(of_split)
        if parts[split].height < of_split.height:
            removed[f"{split}: a text or query of an earlier split"] = of_split.height - parts[split].height
        texts[split] = held.texts
        held.add(parts[split], documents)
    owner = (
        pl.concat([parts[split].select(document_group="group", home=pl.lit(split)) for split in ORDER])
        .filter(pl.col("document_group") != "")
        .unique("document_group", keep="first", maintain_order=True)
    )
    for split in ORDER:
        owned = parts[split].join(owner, on="document_group", how="left", maintain_order="left")
        clean = owned.filter(pl.col("home").fill_null(split) == split)
        if clean.height < owned.height:
            removed[f"{split}: the document belongs to another split"] = owned.height - clean.height
        parts[split] = clean.select(list(QRELS))
    return AssignedSplits({split: part for split, part in parts.items() if part.height}, removed, owner, texts)


def assign_candidates(
    candidates: pl.LazyFrame, assigned: AssignedSplits, documents: pl.DataFrame, published: pl.Series
) -> dict[str, pl.LazyFrame]:
    """Candidates of each split's queries, without the texts and groups of other splits, and without known positives.

    ``published``: ids of the queries whose split the source published; their candidates are left as they are.
    """
    texts = documents.lazy().select(document_id="id", document_group="group", text="text")
    known = candidates.join(texts, on="document_id", how="left", maintain_order="left").join(
        assigned.owner.lazy(), on="document_group", how="left", maintain_order="left"
    )
    free = pl.col("query_id").is_in(published.implode())
    by_split = {}
    for split, qrels in assigned.qrels.items():
        clean = (pl.col("home").fill_null(split) == split) & pl.col("text").is_in(assigned.held[split].implode()).not_()
        relevant = qrels.lazy().filter(pl.col("score") > 0)
        labelled = pl.col("label").fill_null(1) <= 0
        of_split = known.join(
            qrels.lazy().select("query_id").unique(), on="query_id", how="semi", maintain_order="left"
        )
        wrong = of_split.filter(labelled).join(relevant, on=["query_id", "document_id"], how="semi").select("row")
        by_split[split] = (
            of_split.filter(free | clean)
            .join(wrong, on="row", how="anti", maintain_order="left")
            .select(list(CANDIDATES))
        )
    return by_split
