"""What a configuration needs of a dataset, checked before anything is made of it; problems say the next command."""

from __future__ import annotations

import shlex
from dataclasses import replace

import polars as pl

from osparse.contracts.dataset import Dataset
from osparse.errors import DatasetError
from osparse.trainer.config.run_config import Ranking, TrainConfig


def require_splits(dataset: Dataset) -> None:
    """Raises :class:`DatasetError` if the dataset has no pairs to train on."""
    dataset.require_judgements("of its train and validation splits")
    if "train" not in dataset.splits:
        raise DatasetError(
            f"{dataset.path} has no train split, only {', '.join(dataset.splits)}: its pairs are in few groups, and a "
            "group stays in one split; build it again without `group`, if that is a category, or with more rows"
        )


def without_validation(config: TrainConfig, dataset: Dataset) -> TrainConfig:
    """The configuration for a dataset that may have no validation split: nothing is then chosen by measurements."""
    if "validation" in dataset.splits:
        return config
    return replace(config, validation=replace(config.validation, trained_on=True))


def splits_learnt(config: TrainConfig, dataset: Dataset) -> tuple[str, ...]:
    """The splits that a run trains on."""
    splits = ("train", "validation") if config.validation.trained_on else ("train",)
    return tuple(split for split in splits if split in dataset.splits)


def require_candidates(config: TrainConfig, dataset: Dataset) -> None:
    """Raises :class:`DatasetError` if a stage uses hard negatives or a teacher's scores that are not there."""
    stages = [stage for stage in config.stages if isinstance(stage, Ranking)]
    taught = any(_scores_of_dataset(stage) for stage in stages)
    if not taught and not any(stage.negatives for stage in stages):
        return
    mined, scored = f"{dataset.path}-mined", f"{dataset.path}-scored"
    mine = shlex.join(["osparse", "corpus", "mine", str(dataset.path), "--output", mined])
    if not dataset.has_candidates("train"):
        commands = [mine, _score(mined, scored)] if taught else [mine]
        last = "the last dataset" if taught else "that"
        what = "hard negatives and a teacher's scores" if taught else "hard negatives"
        raise DatasetError(f"{dataset.path} has no {what}; make them, and train on {last}: {' && '.join(commands)}")
    if taught and not _has_scores(dataset):
        raise DatasetError(
            f"{dataset.path} has hard negatives and no teacher's scores; make them, and train on that: "
            f"{_score(str(dataset.path), scored)}"
        )


def _scores_of_dataset(stage: Ranking) -> bool:
    return stage.distillation is not None and any(teacher.kind == "dataset" for teacher in stage.distillation.teachers)


def _has_scores(dataset: Dataset) -> bool:
    scored = dataset.candidates("train").filter(pl.col("score").is_not_null()).head(1)
    return bool(scored.collect(engine="streaming").height)


def _score(dataset: str, output: str) -> str:
    return shlex.join(["osparse", "corpus", "score", dataset, "--teacher", "TEACHER", "--output", output])
