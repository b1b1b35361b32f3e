"""The texts that a run learns from: its own, those of its start and those of its teachers."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from osparse.contracts.dataset import Dataset
from osparse.contracts.model import texts_learnt_by
from osparse.contracts.seen import SeenTexts
from osparse.io.tables import READ_ROWS, row_batches
from osparse.trainer.config.dataset_needs import splits_learnt
from osparse.trainer.config.run_config import Ranking, Teacher, TrainConfig
from osparse.trainer.data.candidates import held_back


def texts_of_run(config: TrainConfig, dataset: Dataset) -> SeenTexts:
    """Everything that the model of a run will have learnt from; 8 bytes of memory for each text.

    Raises :class:`ModelError` or :class:`DatasetError` if the list of a start, teacher or dataset was changed.
    """
    own = SeenTexts.of(_texts(_documents(config, dataset)), _texts(_queries(config, dataset)))
    return own.union(*_start(config), *(part for teacher in _teachers(config) for part in _teacher(teacher, dataset)))


def _documents(config: TrainConfig, dataset: Dataset) -> pl.LazyFrame:
    """The relevant documents of the splits trained on, and the candidates where a stage uses them."""
    ids = [_relevant(dataset, split).select(id="document_id") for split in splits_learnt(config, dataset)]
    if any(stage.negatives or _scored(stage) for stage in _ranking(config)):
        splits = [split for split in splits_learnt(config, dataset) if dataset.has_candidates(split)]
        held = held_back(dataset, splits_learnt(config, dataset)).lazy()
        ids += [dataset.candidates(s).select(id="document_id").join(held, on="id", how="anti") for s in splits]
    return dataset.documents.join(pl.concat(ids).unique(), on="id", how="semi")


def _queries(config: TrainConfig, dataset: Dataset) -> pl.LazyFrame:
    if not any(_ranking(config)):  # masked-LM stages and the warm start read documents alone
        return dataset.queries.clear()
    ids = [_relevant(dataset, split).select(id="query_id") for split in splits_learnt(config, dataset)]
    return dataset.queries.join(pl.concat(ids).unique(), on="id", how="semi")


def _relevant(dataset: Dataset, split: str) -> pl.LazyFrame:
    return dataset.qrels(split).filter(pl.col("score") > 0)


def _texts(table: pl.LazyFrame) -> Iterator[str]:
    return (text for batch in row_batches(table.select("text"), READ_ROWS) for (text,) in batch)


def _ranking(config: TrainConfig) -> list[Ranking]:
    return [stage for stage in config.stages if isinstance(stage, Ranking)]


def _teachers(config: TrainConfig) -> list[Teacher]:
    return [teacher for stage in _ranking(config) if stage.distillation for teacher in stage.distillation.teachers]


def _scored(stage: Ranking) -> bool:
    return stage.distillation is not None and any(teacher.kind == "dataset" for teacher in stage.distillation.teachers)


def _start(config: TrainConfig) -> Iterator[SeenTexts]:
    if config.encoder.start is not None:
        yield texts_learnt_by(config.encoder.start, "start")
    if config.encoder.factory is not None:
        yield SeenTexts.of((), (), [f"factory {config.encoder.factory}"])


def _teacher(teacher: Teacher, dataset: Dataset) -> Iterator[SeenTexts]:
    if teacher.path is not None:
        yield texts_learnt_by(teacher.path, "teacher")
    elif teacher.kind == "dataset":
        known = dataset.teachers_texts()
        if known is not None:
            yield known
        scored_here = {str(report.get("teacher")) for report in dataset.manifest.notes.get("teachers", ())}
        others = {teacher.scorer} if teacher.scorer is not None else _scorers(dataset)
        yield SeenTexts.of((), (), [f"teacher {name}" for name in sorted(others - scored_here)])


def _scorers(dataset: Dataset) -> set[str]:
    """Who gave the teachers' scores of the training split."""
    if not dataset.has_candidates("train"):
        return set()
    scored = dataset.candidates("train").filter(pl.col("origin") == "distilled")
    return set(scored.select("scorer").unique().collect(engine="streaming")["scorer"])
