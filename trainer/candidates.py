"""Hard negatives and teachers' scores of the training split: what a ranker was shown for each query."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import polars as pl

from osparse.dataset import Dataset
from osparse.lexicon import Lexicon
from osparse.trainer.records import Candidates, Records, Text, tokenise

log = logging.getLogger("osparse.trainer.candidates")


def with_candidates(records: Records, dataset: Dataset, tokenizer: Path, lexicon: Lexicon) -> Records:
    """The records with the candidates of their queries, and the tokenised documents these name.

    A document that is judged in a held-back split alone is left out: nothing of it may be learnt.

    Raises :class:`DatasetError` if the training split has no candidates.
    """
    rows = dataset.candidates("train").filter(pl.col("query_id").is_in(list(records.relevant)))
    found: dict[str, Candidates] = {}
    columns = ("query_id", "document_id", "label", "score", "origin", "scorer")
    for query, document, label, score, origin, scorer in rows.select(columns).collect().iter_rows():
        held = found.setdefault(query, Candidates())
        held.documents[document] = held.documents.get(document, False) or (label is not None and label <= 0)
        if score is not None:
            held.scores.setdefault(scorer, {})[document] = score
            if origin == "distilled":
                held.teachers.add(scorer)
    there = dataset.candidate_documents("train").select("id", "text", "lang", "group").sort("id").collect()
    kept = there.join(_held_back(dataset), on="id", how="anti", maintain_order="left")
    if kept.height < there.height:
        log.warning(
            "%s: %d of %d candidates of the train split are judged in a held-back split alone and are left out",
            dataset.path, there.height - kept.height, there.height,
        )  # fmt: skip
    texts = tokenise(kept["text"].to_list(), tokenizer, lexicon)
    others = {
        name: Text(name, lang, ids, group or name)
        for (name, _, lang, group), ids in zip(kept.rows(), texts, strict=True)
        if len(ids)
    }
    return replace(records, candidates=found, others=others)


def _held_back(dataset: Dataset) -> pl.DataFrame:
    """Ids of the documents that the validation or test split judges and the training split does not."""
    held = [dataset.qrels(split) for split in dataset.splits if split != "train"]
    trained = dataset.qrels("train").select(pl.col("document_id").alias("id"))
    if not held:
        return trained.clear().collect()
    judged = pl.concat(held).select(pl.col("document_id").unique().alias("id"))
    return judged.join(trained, on="id", how="anti").collect()
