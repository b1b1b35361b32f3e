"""What the training records decide of a configuration: settings that are ``auto``, and what has no effect on them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from osparse.errors import ConfigError
from osparse.trainer.config.run_config import LexicalConfig, MaskedLm, Ranking, TrainConfig, WarmStart
from osparse.trainer.data.training_records import TrainingRecord, TrainingRecords

TRANSLATED, TRANSLATED_QUERIES = 0.7, 1
"""Of the lexical table, and of a ranking stage, where there are translations: the best measured (docs/quality.md)."""
NONE = "no training record has queries or documents in two languages"


@dataclass(frozen=True)
class Settled:
    """A configuration with numbers in place of ``auto``."""

    config: TrainConfig
    notes: tuple[str, ...]
    """One line per setting: what ``auto`` became, and what has no effect on these records."""


class _Notes:
    """What is said of each setting that uses translations, and which of them cannot be."""

    def __init__(self, aligned: bool) -> None:
        self.aligned = aligned
        self.lines: list[str] = []
        self.problems: list[str] = []

    def number(self, where: str, value: float | str, where_aligned: float) -> float:
        """The number of a setting."""
        if isinstance(value, str):
            number = where_aligned if self.aligned else 0
            reason = "training records have texts in two languages" if self.aligned else NONE
            self.lines.append(f"{where}: auto is {number}, since {reason}")
            return number
        if value and not self.aligned:
            self.problems.append(f"{where}: {value} asks for translations, and {NONE}; set it to auto or 0")
        return value


def settle(config: TrainConfig, records: TrainingRecords) -> Settled:
    """The configuration for these records.

    Raises :class:`ConfigError` if it asks for translations by a number and the records have none.
    """
    cut = _cut_batches(config.stages, len(np.unique(records.groups)))
    if not any(_uses_translations(part) for part in (config.lexical_table, *config.stages)):
        return Settled(config, cut)
    notes = _Notes(has_translations(records))
    table = None if config.lexical_table is None else _table(config.lexical_table, notes)
    stages = tuple(_stage(stage, notes) for stage in config.stages)
    if notes.problems:
        raise ConfigError("the training records", notes.problems)
    return Settled(replace(config, lexical_table=table, stages=stages), (*notes.lines, *cut))


def has_translations(records: TrainingRecords) -> bool:
    """Whether a record has queries, or documents, in two languages, which translations can be estimated from."""
    return len(records.languages) > 1 and any(map(_in_two_languages, records.records))


def _in_two_languages(record: TrainingRecord) -> bool:
    return any(len({text.lang for text in texts}) > 1 for texts in (record.queries, record.documents))


def _uses_translations(part: LexicalConfig | WarmStart | MaskedLm | Ranking | None) -> bool:
    value = part.translated_queries if isinstance(part, Ranking) else getattr(part, "translated", 0)
    return bool(value)


def _table(config: LexicalConfig, notes: _Notes) -> LexicalConfig | None:
    """None where nothing would be in the table."""
    automatic = translated_beside(config.own)
    made = replace(config, translated=notes.number("lexical_table.translated", config.translated, automatic))
    return made if made.own or made.translated else None


def translated_beside(own: float) -> float:
    """The weight of translations beside one of own tokens: 0.7 to 0.5, and with its square root above that."""
    return round(TRANSLATED * max(1.0, math.sqrt(own / 0.5)), 2)


def _stage(stage: WarmStart | MaskedLm | Ranking, notes: _Notes) -> WarmStart | MaskedLm | Ranking:
    if isinstance(stage, Ranking):
        where = "stages.ranking.translated_queries"
        return replace(stage, translated_queries=int(notes.number(where, stage.translated_queries, TRANSLATED_QUERIES)))
    if isinstance(stage, MaskedLm) and stage.translated and not notes.aligned:
        notes.lines.append(f"stages.mlm.translated: {stage.translated} has no effect, since {NONE}")
    return stage


def _cut_batches(stages: Sequence[WarmStart | MaskedLm | Ranking], groups: int) -> tuple[str, ...]:
    """A line for each stage whose batch cannot have the records it asks for."""
    return tuple(
        f"stages.{stage.task}.batch: {stage.batch} is cut to {groups}, since a batch holds one record of a group and "
        f"the training records have {groups} groups"
        for stage in stages
        if not isinstance(stage, WarmStart) and stage.batch > groups
    )
