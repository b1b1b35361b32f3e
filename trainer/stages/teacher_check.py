"""Teachers are judged before they are learnt from; one that ranks near chance is refused unless the run forces it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from osparse.contracts.dataset import Dataset
from osparse.errors import ConfigError
from osparse.evaluation.candidate_lists import QUERIES, CandidateList, bm25_scores, draw_lists
from osparse.evaluation.teacher_quality import TeacherQuality, judge_teacher
from osparse.formula.lexicon import load_tokenizer
from osparse.trainer.config.run_config import Ranking, Teacher, TrainConfig
from osparse.trainer.stages.teachers import Scorer

log = logging.getLogger("osparse.trainer.stages.teacher_check")
ENCODED_QUERIES = 50
"""Queries whose lists a teacher that must encode them is judged by: the interval is then about .1 wide to each side."""


@runtime_checkable
class ListScorer(Protocol):
    """A scorer that can be judged: it scores documents by id, outside of a batch."""

    def list_scores(self, query: str, documents: Sequence[str]) -> NDArray[np.float32]:
        """(n,) scores of documents for a query, both by id; NaN where it has none."""


def judge_teachers(
    scorers: Mapping[Teacher, Scorer], dataset: Dataset, tokenizer: Path
) -> dict[Teacher, TeacherQuality]:
    """Each teacher on lists of the training split, beside BM25 over the tokens of ``tokenizer`` (tokenizer.json).

    Left out are BM25 itself and teachers that score only within a batch.
    """
    read = load_tokenizer(tokenizer)

    def terms(text: str) -> list[int]:
        ids: list[int] = read.encode(text, add_special_tokens=False).ids
        return ids

    judged: dict[Teacher, TeacherQuality] = {}
    drawn: dict[int, tuple[list[CandidateList], list[NDArray[np.float64]]]] = {}
    for teacher, scorer in scorers.items():
        if isinstance(scorer, ListScorer):
            of_dataset = teacher.kind == "dataset"
            queries = QUERIES if of_dataset else ENCODED_QUERIES
            if queries not in drawn:
                lists = draw_lists(dataset, queries=queries, mined=not of_dataset)
                drawn[queries] = lists, bm25_scores(lists, terms)
            lists, bm25 = drawn[queries]
            scores = [scorer.list_scores(one.query_id, one.document_ids).astype(np.float64) for one in lists]
            judged[teacher] = judge_teacher(name_of(teacher), lists, scores, {"bm25": bm25})
    return judged


def name_of(teacher: Teacher) -> str:
    return teacher.path.resolve().name if teacher.path is not None else teacher.scorer or teacher.kind


def require_good_teachers(config: TrainConfig, judged: Mapping[Teacher, TeacherQuality]) -> None:
    """Warn of teachers that may be no better than chance.

    Raises :class:`ConfigError` for one near chance, unless its stage has ``force_teacher``.
    """
    for number, stage in enumerate(config.stages):
        if not isinstance(stage, Ranking) or stage.distillation is None:
            continue
        for teacher in stage.distillation.teachers:
            quality = judged.get(teacher)
            if quality is None or quality.verdict == "better than chance":
                continue
            advice = "give another teacher, or set force_teacher: true in distillation to train on it all the same"
            if quality.verdict == "near chance" and not stage.distillation.force_teacher:
                problem = f"{quality.finding()}, which is near chance: {advice}"
                raise ConfigError(f"stages.{number}.distillation.teachers", [problem])
            log.warning("%s: %s", quality.finding(), quality.verdict)
