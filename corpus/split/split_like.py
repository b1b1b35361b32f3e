"""One split rule across datasets: what another dataset holds back is held back here too.

A group of judgements goes to the split in which the other dataset has the group's name, a relevant text or a query of
it (texts are compared in NFC, lower case and single spaces, by hash); where these say several splits, to the earliest
of test, validation and train. What the other dataset does not know is dealt by the rule.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from osparse.contracts.dataset import Dataset
from osparse.corpus.split.splits import ORDER
from osparse.errors import InputError

_RANK = {split: rank for rank, split in enumerate(ORDER)}
_SPACES = r"\s+"


@dataclass(frozen=True, eq=False)
class KnownSplits:
    """Names of groups, relevant texts and queries of a dataset, each with the earliest split that has it."""

    name: str
    fingerprint: str
    seed: int
    groups: pl.DataFrame
    """Columns group, rank."""
    texts: pl.DataFrame
    """Columns text (a hash), rank."""
    queries: pl.DataFrame
    """The same."""

    @classmethod
    def of(cls, dataset: Dataset) -> KnownSplits:
        """Raises :class:`DatasetError` if the dataset has no judgements."""
        dataset.require_judgements("to split another one alike")
        relevant = pl.concat(
            [
                dataset.qrels(split).filter(pl.col("score") > 0).with_columns(rank=pl.lit(_RANK[split], pl.Int8))
                for split in dataset.splits
            ]
        )
        documents = dataset.documents.select(document_id="id", group="group", text=_hash())
        judged = relevant.join(documents, on="document_id").select("group", "text", "rank").collect(engine="streaming")
        queries = dataset.queries.select(query_id="id", text=_hash())
        asked = relevant.join(queries, on="query_id").select("text", "rank").collect(engine="streaming")
        groups = judged.filter(pl.col("group").fill_null("") != "")
        return cls(
            dataset.path.resolve().name, dataset.fingerprint, dataset.manifest.seed, _earliest(groups, "group"),
            _earliest(judged, "text"), _earliest(asked, "text"),
        )  # fmt: skip

    def agreed_seed(self, seed: int) -> int:
        """The seed of the rule; raises :class:`InputError` for another one than the dataset's."""
        if seed not in (0, self.seed):
            raise InputError(
                f"`seed` must be {self.seed}, as {self.name} was split by, got {seed}; leave it out with `split_like`"
            )
        return self.seed


def split_alike(
    judgements: pl.DataFrame, documents: pl.LazyFrame, queries: pl.LazyFrame, known: KnownSplits
) -> tuple[pl.DataFrame, dict[str, int]]:
    """The judgements with a column ``alike``, the split that ``known`` says or null; and the conflicts by name.

    Judgements whose source published a later split than the one that holds them back there are removed.

    Args:
        judgements: Columns query_id, document_id, score, origin, group, split (null where it is not published).
        documents, queries: Columns id, text.
    """
    texts = documents.select(document_id="id", text=_hash()).join(
        judgements.lazy().select("document_id").unique(), on="document_id", how="semi"
    )
    asked = queries.select(query_id="id", query=_hash())
    ranked = (
        judgements.with_row_index("row")
        .join(texts.collect(engine="streaming"), on="document_id", how="left")
        .join(asked.collect(engine="streaming"), on="query_id", how="left")
        .join(known.groups.rename({"rank": "by_group"}), on="group", how="left")
        .join(known.texts.rename({"rank": "by_text"}), on="text", how="left")
        .join(known.queries.rename({"text": "query", "rank": "by_query"}), on="query", how="left")
        .sort("row")
        .with_columns(by_text=pl.when(pl.col("score") > 0).then("by_text"))
        .with_columns(rank=pl.min_horizontal("by_group", "by_text", "by_query"))
    )
    member = pl.when(pl.col("group").fill_null("") == "").then(pl.concat_str(pl.lit("row "), "row")).otherwise("group")
    ranked = ranked.with_columns(
        alike=pl.col("rank").min().over(member), last=pl.max_horizontal("by_group", "by_text", "by_query")
    ).with_columns(last=pl.col("last").max().over(member))
    split_rank = pl.col("split").replace_strict(_RANK, default=None, return_dtype=pl.Int8)
    later, earlier = split_rank > pl.col("alike"), split_rank < pl.col("alike")
    several = pl.col("split").is_null() & (pl.col("last") > pl.col("alike"))
    conflicts = {
        f"published in a later split than the one of {known.name} that holds it back": ranked.filter(later).height,
        f"published in an earlier split than in {known.name} (kept as published)": ranked.filter(earlier).height,
        f"of a group that {known.name} has in several splits (put into the earliest)": ranked.filter(several).height,
    }
    kept = ranked.filter(later.fill_null(False).not_()).with_columns(
        alike=pl.col("alike").replace_strict(dict(enumerate(ORDER)), default=None, return_dtype=pl.String)
    )
    return kept.select(*judgements.columns, "alike"), {reason: rows for reason, rows in conflicts.items() if rows}


def _earliest(rows: pl.DataFrame, column: str) -> pl.DataFrame:
    return rows.group_by(column).agg(pl.col("rank").min())


def _hash() -> pl.Expr:
    """Of a text, whatever its case, its spaces and the way its characters are composed."""
    plain = pl.col("text").str.normalize("NFC").str.to_lowercase().str.replace_all(_SPACES, " ").str.strip_chars()
    return plain.hash()
