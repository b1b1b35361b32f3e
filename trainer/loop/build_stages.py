"""From the configuration's list of stages to what makes each: data, teachers and losses, checked before any work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch

from osparse.contracts.dataset import Dataset
from osparse.encoders.torch_encoder import SparseEncoder
from osparse.formula.lexicon import Lexicon
from osparse.plugins.dotted_paths import load_dotted
from osparse.trainer.config.dataset_needs import splits_learnt
from osparse.trainer.config.run_config import MaskedLm, Ranking, Teacher, TrainConfig, WarmStart
from osparse.trainer.data.batch_sampler import require_groups
from osparse.trainer.data.candidates import with_candidates
from osparse.trainer.data.padding import SpecialTokens
from osparse.trainer.data.record_reader import read_records
from osparse.trainer.data.training_records import TrainingRecords
from osparse.trainer.loop.own_parts import named_errors
from osparse.trainer.losses.contrastive import info_nce
from osparse.trainer.stages.base import Stage
from osparse.trainer.stages.masked_lm import MaskedLmStage, require_bias, require_mask
from osparse.trainer.stages.ranking import RankingStage
from osparse.trainer.stages.teachers import Scorer, make_scorer

StageMakers = list[tuple[MaskedLm | Ranking, Callable[[], Stage]]]


def training_records(
    config: TrainConfig, dataset: Dataset, tokenizer: Path, lexicon: Lexicon, cache: Path | None = None
) -> TrainingRecords:
    """What is trained on, with its candidates where a stage uses hard negatives or a teacher's scores of them.

    ``cache``: folder for the token ids; None keeps them in memory.
    """
    splits = splits_learnt(config, dataset)
    records = read_records(dataset, tokenizer, lexicon, splits, cache)
    if any(_uses_candidates(stage) for stage in config.stages if isinstance(stage, Ranking)):
        return with_candidates(records, dataset, tokenizer, lexicon, splits, cache)
    return records


def _uses_candidates(stage: Ranking) -> bool:
    taught = stage.distillation.teachers if stage.distillation else ()
    return stage.negatives > 0 or any(teacher.kind == "dataset" for teacher in taught)


def make_scorers(
    config: TrainConfig, dataset: Dataset, records: TrainingRecords, device: torch.device
) -> dict[Teacher, Scorer]:
    """The scorer of each teacher of the run; raises as :func:`make_scorer`."""
    named = [
        teacher
        for stage in config.stages
        if isinstance(stage, Ranking) and stage.distillation
        for teacher in stage.distillation.teachers
    ]
    return {teacher: make_scorer(teacher, dataset, records, device) for teacher in dict.fromkeys(named)}


def stage_makers(
    config: TrainConfig,
    encoder: SparseEncoder,
    records: TrainingRecords,
    lexicon: Lexicon,
    special: SpecialTokens,
    scorers: Mapping[Teacher, Scorer],
) -> StageMakers:
    """Each stage but the warm start, and what makes it when it is its turn; raises now what it would raise then.

    ``scorers``: those of all teachers, as :func:`make_scorers` makes them.
    """
    makers: StageMakers = []
    for number, stage in enumerate(config.stages):
        if isinstance(stage, WarmStart):
            continue
        require_groups(records.groups)
        seed = 1000 * config.seed + number  # a task may come twice
        if isinstance(stage, MaskedLm):
            require_mask(stage, special)
            require_bias(encoder)
            micro_batch = config.loop.micro_batch
            makers.append(
                (stage, partial(MaskedLmStage, encoder, stage, records, special, seed, micro_batch=micro_batch))
            )
            continue
        teachers = [scorers[teacher] for teacher in stage.distillation.teachers] if stage.distillation else []
        loss = named_errors(load_dotted(stage.loss, f"stages.{number}.loss"), stage.loss) if stage.loss else info_nce
        makers.append(
            (
                stage,
                partial(
                    RankingStage, encoder, stage, config.sparsity, records, lexicon.idf, special, seed,
                    teachers=teachers, micro_batch=config.loop.micro_batch, loss=loss,
                ),
            )
        )  # fmt: skip
    return makers
