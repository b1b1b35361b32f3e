"""Hard negatives and teachers' scores of the training split: what a ranker was shown for each query."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from osparse.dataset import Dataset
from osparse.lexicon import Lexicon
from osparse.trainer.records import Candidates, Records, Text, tokenise

log = logging.getLogger("osparse.trainer.candidates")


def with_candidates(
    records: Records, dataset: Dataset, tokenizer: Path, lexicon: Lexicon, splits: Sequence[str] = ("train",)
) -> Records:
    """The records with the candidates of their queries, and the tokenised documents these name.

    A document that is judged in a held-back split alone is left out: nothing of it may be learnt. ``splits`` are those
    trained on.

    Raises :class:`DatasetError` if the training split has no candidates.
    """
    with_some = ["train", *(split for split in splits if split != "train" and dataset.has_candidates(split))]
    rows = pl.concat([dataset.candidates(split) for split in with_some])
    rows = rows.filter(pl.col("query_id").is_in(list(records.relevant)))
    found: dict[str, Candidates] = {}
    columns = ("query_id", "document_id", "label", "score", "origin", "scorer")
    for query, document, label, score, origin, scorer in rows.select(columns).collect().iter_rows():
        held = found.setdefault(query, Candidates())
        held.documents[document] = held.documents.get(document, False) or (label is not None and label <= 0)
        if score is not None:
            held.scores.setdefault(scorer, {})[document] = score
            if origin == "distilled":
                held.teachers.add(scorer)
    named = pl.concat([dataset.candidate_documents(split) for split in with_some]).unique("id")
    there = named.select("id", "text", "lang", "group").sort("id").collect()
    kept = there.join(_held_back(dataset, splits), on="id", how="anti", maintain_order="left")
    if kept.height < there.height:
        log.warning(
            "%s: %d of %d candidates that are trained with are judged in a held-back split alone and are left out",
            dataset.path, there.height - kept.height, there.height,
        )  # fmt: skip
    texts = tokenise(kept["text"].to_list(), tokenizer, lexicon)
    others = {
        name: Text(name, lang, ids, group or name)
        for (name, _, lang, group), ids in zip(kept.rows(), texts, strict=True)
        if len(ids)
    }
    return replace(records, candidates=found, others=others)


def _held_back(dataset: Dataset, splits: Sequence[str]) -> pl.DataFrame:
    """Ids of the documents that another split judges and none of ``splits`` does."""
    held = [dataset.qrels(split) for split in dataset.splits if split not in splits]
    trained = pl.concat([dataset.qrels(split) for split in splits]).select(pl.col("document_id").alias("id"))
    if not held:
        return trained.clear().collect()
    judged = pl.concat(held).select(pl.col("document_id").unique().alias("id"))
    return judged.join(trained, on="id", how="anti").collect()
