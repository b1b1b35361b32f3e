"""What the training records decide of a configuration: settings that are ``auto``, and what has no effect on them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from osparse.errors import ConfigError
from osparse.trainer.config.run_config import (
    LexicalConfig,
    MaskedLm,
    Ranking,
    SparsityConfig,
    TrainConfig,
    ValidationConfig,
    WarmStart,
)
from osparse.trainer.data.training_records import TrainingRecords
from osparse.trainer.loop.auto_amounts import Amounts, StageSteps, in_two_languages, mixing_exponent, stage_steps

OWN, OWN_BESIDE_SHARE, TRANSLATED, TRANSLATED_QUERIES = 0.5, 1.25, 0.7, 1
"""Of the lexical table, and of a ranking stage, where there are translations: the best measured (docs/quality.md)."""
TABLE = ("own", "translated")
"""Settings of the lexical table that the validation split may choose after training."""
NONZEROS_BEFORE_CUT = 2
"""Non-zeros in training for one that is kept: lambda 3e-3 leaves about this many on deb-koen."""
NONE = "no training record has queries or documents in two languages"


@dataclass(frozen=True)
class Settled:
    """A configuration with numbers in place of ``auto``."""

    config: TrainConfig
    notes: tuple[str, ...]
    """One line per setting: what ``auto`` became, and what has no effect on these records."""
    values: Mapping[str, float] = field(default_factory=dict)
    """Setting -> what ``auto`` became; ``key=value`` overrides of them repeat the run."""
    choose: tuple[str, ...] = ()
    """Of :data:`TABLE`, what the validation split chooses after training; until then they have their defaults."""

    def chosen(self, table: LexicalConfig, values: Mapping[str, float], notes: Sequence[str]) -> Settled:
        """With the table's weights that validation chose."""
        config = replace(self.config, lexical_table=table)
        return Settled(config, (*self.notes, *notes), {**self.values, **values})


class _Notes:
    """What is said of each setting that is ``auto`` or uses translations, and which of them cannot be."""

    def __init__(self, aligned: bool) -> None:
        self.aligned = aligned
        self.lines: list[str] = []
        self.problems: list[str] = []
        self.values: dict[str, float] = {}

    def settle(self, where: str, number: float, reason: str) -> None:
        self.lines.append(f"{where}: auto is {number:g}, {reason}")
        self.values[where] = number

    def number(self, where: str, value: float | str, where_aligned: float) -> float:
        """The number of a setting that uses translations."""
        if isinstance(value, str):
            number = where_aligned if self.aligned else 0
            self.settle(
                where, number, f"since {'training records have texts in two languages' if self.aligned else NONE}"
            )
            return number
        if value and not self.aligned:
            self.problems.append(f"{where}: {value} asks for translations, and {NONE}; set it to auto or 0")
        return value


def settle(config: TrainConfig, records: TrainingRecords) -> Settled:
    """The configuration for these records.

    Raises :class:`ConfigError` if it asks for translations by a number and the records have none.
    """
    groups = len(np.unique(records.groups))
    cut = _cut_batches(config.stages, groups)
    parts = (config.lexical_table, config.sparsity, config.validation, *config.stages)
    if not any(_uses_translations(part) or _has_auto(part) for part in parts):
        return Settled(config, cut)
    notes = _Notes(has_translations(records))
    table = None if config.lexical_table is None else _table(config.lexical_table, config.head.own_share, notes)
    stages = tuple(_stage(stage, notes) for stage in config.stages)
    if any(map(_has_auto, stages)):
        stages = _amounts(stages, Amounts.of(records), groups, config.budget, notes)
    sparsity = _sparsity(config.sparsity, config.head.nonzeros, notes)
    validation = _validation(config.validation, stages, notes)
    if notes.problems:
        raise ConfigError("the training records", notes.problems)
    made = replace(config, lexical_table=table, stages=stages, sparsity=sparsity, validation=validation)
    return Settled(made, (*notes.lines, *cut), notes.values, _choices(config.lexical_table, notes))


def has_translations(records: TrainingRecords) -> bool:
    """Whether a record has queries, or documents, in two languages, which translations can be estimated from."""
    return len(records.languages) > 1 and any(map(in_two_languages, records.records))


Part = LexicalConfig | WarmStart | MaskedLm | Ranking | SparsityConfig | ValidationConfig


def _uses_translations(part: Part | None) -> bool:
    value = part.translated_queries if isinstance(part, Ranking) else getattr(part, "translated", 0)
    return bool(value)


def _has_auto(part: Part | None) -> bool:
    """Whether a setting of the part, or its mixing, is ``auto``."""
    mixing = getattr(part, "mixing", None)
    values = [*vars(part).values(), *(vars(mixing).values() if mixing else ())] if part else []
    return "auto" in [value for value in values if isinstance(value, str)]


def _table(config: LexicalConfig, own_share: float, notes: _Notes) -> LexicalConfig | None:
    """None where nothing would be in the table; ``own_share`` as the head has it."""
    own = config.own
    if isinstance(own, str):
        own = OWN if own_share == 1 else OWN_BESIDE_SHARE
        notes.settle("lexical_table.own", own, f"the best on deb-koen with head.own_share {own_share:g}")
    translated = notes.number("lexical_table.translated", config.translated, translated_beside(own))
    return replace(config, own=own, translated=translated) if own or translated else None


def _choices(config: LexicalConfig | None, notes: _Notes) -> tuple[str, ...]:
    """Of :data:`TABLE`, what validation chooses: nothing unless ``own`` is ``auto``, no translations without any."""
    if config is None or not isinstance(config.own, str):
        return ()
    return TABLE if isinstance(config.translated, str) and notes.aligned else ("own",)


def translated_beside(own: float) -> float:
    """The weight of translations beside one of own tokens: 0.7 to 0.5, and with its square root above that."""
    return round(TRANSLATED * max(1.0, math.sqrt(own / OWN)), 2)


def _stage(stage: WarmStart | MaskedLm | Ranking, notes: _Notes) -> WarmStart | MaskedLm | Ranking:
    if isinstance(stage, Ranking):
        where = "stages.ranking.translated_queries"
        return replace(stage, translated_queries=int(notes.number(where, stage.translated_queries, TRANSLATED_QUERIES)))
    if isinstance(stage, MaskedLm) and stage.translated and not notes.aligned:
        notes.lines.append(f"stages.mlm.translated: {stage.translated} has no effect, since {NONE}")
    return stage


def _amounts(
    stages: Sequence[WarmStart | MaskedLm | Ranking], amounts: Amounts, groups: int, budget: int | None, notes: _Notes
) -> tuple[WarmStart | MaskedLm | Ranking, ...]:
    """The stages with their mixing and steps, the latter together within the budget."""
    mixed = [_mixed(stage, amounts, notes) for stage in stages]
    wished = {
        number: stage_steps(amounts, stage, groups)
        for number, stage in enumerate(mixed)
        if not isinstance(stage, WarmStart) and isinstance(stage.steps, str)
    }
    total = sum(steps.tokens for steps in wished.values())
    if budget is not None and total > budget:
        wished = {number: steps.within(budget / total, budget) for number, steps in wished.items()}
    return tuple(_with_steps(stage, wished.get(number), notes) for number, stage in enumerate(mixed))


def _mixed(stage: WarmStart | MaskedLm | Ranking, amounts: Amounts, notes: _Notes) -> WarmStart | MaskedLm | Ranking:
    if isinstance(stage, WarmStart) or stage.mixing is None or not isinstance(stage.mixing.exponent, str):
        return stage
    exponent, reason = mixing_exponent(amounts, replace(stage.mixing, exponent=1.0))
    notes.settle(f"stages.{stage.task}.mixing.exponent", exponent, reason)
    return replace(stage, mixing=replace(stage.mixing, exponent=exponent))


def _with_steps(
    stage: WarmStart | MaskedLm | Ranking, made: StageSteps | None, notes: _Notes
) -> WarmStart | MaskedLm | Ranking:
    if isinstance(stage, WarmStart) or made is None:
        return stage
    notes.settle(f"stages.{stage.task}.steps", made.steps, f"{made.reason}; {made.tokens:,.0f} document tokens")
    return replace(stage, steps=made.steps)


def _sparsity(config: SparsityConfig, nonzeros: int | None, notes: _Notes) -> SparsityConfig:
    if not isinstance(config.target_nonzeros, str):
        return config
    if nonzeros is None:
        notes.lines.append("sparsity.target_nonzeros: auto has no effect, since head.nonzeros is not set")
        return replace(config, target_nonzeros=None)
    target = NONZEROS_BEFORE_CUT * nonzeros
    notes.settle("sparsity.target_nonzeros", target, f"{NONZEROS_BEFORE_CUT} times head.nonzeros {nonzeros}")
    return replace(config, target_nonzeros=target)


def _validation(
    config: ValidationConfig, stages: Sequence[WarmStart | MaskedLm | Ranking], notes: _Notes
) -> ValidationConfig:
    if not isinstance(config.every, str):
        return config
    steps = [stage.step_count for stage in stages if isinstance(stage, Ranking)]
    every = max(1, (steps[-1] + 1) // 2) if steps else 1
    notes.settle("validation.every", every, "half of the ranking steps")
    return replace(config, every=every)


def _cut_batches(stages: Sequence[WarmStart | MaskedLm | Ranking], groups: int) -> tuple[str, ...]:
    """A line for each stage whose batch cannot have the records it asks for."""
    return tuple(
        f"stages.{stage.task}.batch: {stage.batch} is cut to {groups}, since a batch holds one record of a group and "
        f"the training records have {groups} groups"
        for stage in stages
        if not isinstance(stage, WarmStart) and stage.batch > groups
    )
