"""A dataset's training split read as records. Ids and row numbers are in memory; texts stay in the memory map."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from osparse.contracts.dataset import Dataset
from osparse.contracts.text_map import TextMap
from osparse.errors import DatasetError
from osparse.formula.lexicon import Lexicon, load_tokenizer
from osparse.trainer.data.record_table import NumberedJudgements, RelevantDocuments, RowLists, make_table
from osparse.trainer.data.tokens import TokenReader
from osparse.trainer.data.training_records import TrainingRecords


def read_records(
    dataset: Dataset, tokenizer: Path, lexicon: Lexicon, splits: Sequence[str] = ("train",), cache: Path | None = None
) -> TrainingRecords:
    """Read what is trained on.

    Args:
        cache: Folder for the token ids, about two bytes each; None keeps them in memory.

    Raises :class:`DatasetError` when it has no positives, or a teacher's scores.
    """
    judged = pl.concat([dataset.qrels(split) for split in splits])
    _refuse_scores(dataset, judged)
    positives = judged.filter(pl.col("score") > 0).select("query_id", "document_id").collect()
    if positives.is_empty():
        raise DatasetError(f"{dataset.path}: no judgement of the train split has a score above 0; nothing to train on")
    documents, queries = text_maps(dataset)
    numbers = NumberedJudgements.of(positives, documents, queries)
    table = make_table(numbers, documents, queries, token_reader(tokenizer, lexicon, cache))
    if not len(table):
        raise DatasetError(f"{dataset.path}: every query or document of the train split tokenises to nothing")
    number = {queries.value(row, "id"): place for place, row in enumerate(numbers.queries.tolist())}
    answers = RowLists.of(numbers.query_of, numbers.documents[numbers.document_of], len(number))
    return TrainingRecords(table, table.languages, RelevantDocuments(documents, number, answers))


def text_maps(dataset: Dataset) -> tuple[TextMap, TextMap]:
    """The documents and the queries of a dataset."""
    return TextMap(dataset.path / "documents.arrow"), TextMap(dataset.path / "queries.arrow")


def token_reader(tokenizer: Path, lexicon: Lexicon, cache: Path | None) -> TokenReader:
    return TokenReader(load_tokenizer(tokenizer), lexicon.special_ids, len(lexicon.tokens), cache)


def _refuse_scores(dataset: Dataset, judged: pl.LazyFrame) -> None:
    scored = judged.filter(pl.col("origin") == "distilled").select("query_id", "document_id").head(1).collect()
    for query, document in scored.rows():
        raise DatasetError(
            f"{dataset.path}: the train split has judgements of origin 'distilled', like {query!r} and {document!r}; "
            "a teacher's scores are no judgements: put them into candidates.train, or turn the teacher's best into "
            "'mined' judgements"
        )
