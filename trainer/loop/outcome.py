"""Whether a finished run gave a useful model: what is wrong with it, and what to change.

Nothing here refuses a model; the alarms are logged, written to its card and to ``metrics["alarms"]`` of osparse.json,
and repeated by ``osparse package``. The limits below were measured on collapsed, dense, untrained and healthy runs
(docs/training.md has the table): skill was at most .02 without training or after a collapse, and .14 or more otherwise;
documents had 1 non-zero after a collapse, and 37 or more otherwise; 86 % of the vocabulary without a penalty.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from osparse.trainer.config.run_config import Alarms, Ranking, TrainConfig

Metrics = Mapping[str, Any]
"""What :meth:`osparse.trainer.loop.validation.Validation.measure` returns, with ``stage`` and ``step``."""
LEAST_SKILL = 0.1
"""Share of the way from a random order's nDCG@10 to 1 below which a model does not rank."""
FEW_NONZEROS = 10
"""Mean non-zeros per document below which documents have collapsed: fewer than a sentence has words."""
DENSE_SHARE = 0.5
"""Share of the vocabulary above which documents are dense, however small the vocabulary."""
CEILING, FEWEST_DOCUMENTS = 0.99, 100
"""nDCG@10 among so many documents that leaves nothing to choose by."""
LANGUAGE_LOSS = 0.01
"""Loss of nDCG@10 in a direction that is more than noise between two steps of a run."""
RATE_FACTOR, LAMBDA_FACTOR = 0.2, 5.0
"""Proposed change of the learning rate, and of lambda (or its inverse)."""


@dataclass(frozen=True)
class Alarm:
    """Something wrong with the outcome of a run."""

    name: str
    finding: str
    """A clause with the figures."""
    remedy: str
    """A clause that says what to change."""
    settings: dict[str, float] = field(default_factory=dict)
    """Changes to the configuration that the remedy means; empty where it needs other data or a decision."""
    usable: bool = False
    """Whether the written model can be used all the same."""


@dataclass(frozen=True)
class Limits:
    """What a run is judged by: its own settings."""

    empty: float
    """Share of documents without a weight."""
    few: float
    """Mean non-zeros per document, as served."""
    dense: float
    weight: float
    """sparsity.weight"""
    rates: dict[str, float]
    """Setting of each ranking stage's learning rate -> the rate."""
    new_encoder: bool
    """Whether the run started from random weights."""

    @classmethod
    def of(cls, config: TrainConfig, vocabulary: int) -> Limits:
        alarms = config.sparsity.alarms or Alarms()
        wished = [value for value in (config.head.top_k, config.head.nonzeros) if value is not None]
        few = min([FEW_NONZEROS, *(value / 2 for value in wished)])
        dense = max(min(alarms.nonzeros, DENSE_SHARE * vocabulary), *wished, 0)
        rates = {f"stages.{i}.lr": stage.lr for i, stage in enumerate(config.stages) if isinstance(stage, Ranking)}
        new = config.encoder.start is None and config.encoder.factory is None
        return cls(alarms.empty, few, dense, config.sparsity.weight, rates, new)


def skill(metrics: Metrics) -> float:
    """(nDCG - chance) / (1 - chance): 0 for a random order, 1 for the ideal one."""
    chance = float(metrics["chance"])
    return 1.0 if chance >= 1 else (float(metrics["ndcg"]) - chance) / (1 - chance)


def looks_untrained(metrics: Metrics) -> bool:
    """Whether a model ranks hardly better than a random order."""
    return skill(metrics) < LEAST_SKILL


def too_easy(metrics: Metrics) -> str:
    """What to say of a validation split that every checkpoint solves; "" where it can choose between them."""
    ndcg = float(metrics["ndcg"])
    if ndcg < CEILING or int(metrics["documents"]) < FEWEST_DOCUMENTS:
        return ""
    return (
        f"validation nDCG@10 is {ndcg:.3f}, so it can hardly choose between checkpoints, nor say whether the model is "
        "better than BM25 (osparse evaluate with `baseline=bm25`); queries whose words all stand in their answers are "
        "easier than what users type"
    )


def find_alarms(
    written: Metrics, *, start: Metrics, last: Metrics, limits: Limits, lost: Sequence[str] = ()
) -> list[Alarm]:
    """The alarms of a run, those that make the model unusable first.

    Args:
        written: Figures of the weights that are written.
        start: Those before the first step; empty for a new encoder.
        last: Those after the last step; empty where no stage trained.
        lost: Languages of the start in which the training split has no pairs.
    """
    alarms = [
        *_collapsed(written, limits),
        *_dense(written, limits),
        *_unranked(written, start, limits),
        *_below_start(written, start, last, limits),
        *_unlearnt(written, start, lost),
    ]
    return sorted(alarms, key=lambda alarm: alarm.usable)


def _collapsed(written: Metrics, limits: Limits) -> Iterator[Alarm]:
    empty, nonzeros = float(written["empty"]), float(written["nonzeros"])
    if empty <= limits.empty and nonzeros >= limits.few:
        return
    finding = f"documents have collapsed: {nonzeros:.1f} non-zeros on average, {100 * empty:.1f} % have none"
    if limits.weight:
        settings = {"sparsity.weight": limits.weight / LAMBDA_FACTOR}
        yield Alarm("collapsed", finding, "lower sparsity.weight", settings)
    else:
        settings = {name: rate * RATE_FACTOR for name, rate in limits.rates.items()}
        yield Alarm("collapsed", finding, "sparsity.weight is 0, so lower the learning rate", settings)


def _dense(written: Metrics, limits: Limits) -> Iterator[Alarm]:
    nonzeros = float(written["nonzeros"])
    if nonzeros > limits.dense:
        finding = f"documents are dense: {nonzeros:.0f} non-zeros on average, more than {limits.dense:.0f}"
        if limits.weight:
            settings = {"sparsity.weight": limits.weight * LAMBDA_FACTOR}
            yield Alarm("dense", finding, "raise sparsity.weight, or cap documents by head.top_k", settings)
        else:
            yield Alarm("dense", finding, "sparsity.weight is 0: set it, or cap documents by head.top_k")


def _unranked(written: Metrics, start: Metrics, limits: Limits) -> Iterator[Alarm]:
    if not looks_untrained(written):
        return
    ndcg, chance = float(written["ndcg"]), float(written["chance"])
    finding = f"the model ranks hardly better than a random order: validation nDCG@10 {ndcg:.3f}, random {chance:.3f}"
    if limits.new_encoder:
        remedy = (
            "the encoder began with random weights: train longer, add warm_start and mlm stages, or give encoder.start"
        )
        yield Alarm("untrained", finding, remedy)
    elif start and looks_untrained(start):
        remedy = (
            f"the start was untrained too ({float(start['ndcg']):.3f}): check that its tokenizer and idf belong to it, "
            "or train it with an mlm stage first"
        )
        yield Alarm("untrained", finding, remedy)
    else:
        settings = {name: rate * RATE_FACTOR for name, rate in limits.rates.items()}
        yield Alarm("untrained", finding, "lower the learning rate, and check the judgements of the dataset", settings)


def _below_start(written: Metrics, start: Metrics, last: Metrics, limits: Limits) -> Iterator[Alarm]:
    if not start or not last or float(last["ndcg"]) >= float(start["ndcg"]):
        return
    finding = (
        f"training ended below its start: validation nDCG@10 {float(start['ndcg']):.4f} before the first step, "
        f"{float(last['ndcg']):.4f} after the last"
    )
    settings = {name: rate * RATE_FACTOR for name, rate in limits.rates.items()}
    step = written["step"]
    if written["stage"] == start["stage"]:
        yield Alarm("below_start", f"{finding}; the start's weights are written", "lower the learning rate", settings)
    elif float(written["ndcg"]) > float(start["ndcg"]):
        finding = f"{finding}; the weights of step {step}, which are better than the start, are written"
        yield Alarm("below_start", finding, "train for fewer steps or lower the learning rate", settings, usable=True)
    else:
        yield Alarm("below_start", f"{finding}, which is written", "lower the learning rate", settings)


def _unlearnt(written: Metrics, start: Metrics, lost: Sequence[str]) -> Iterator[Alarm]:
    for language in lost:
        fallen = [
            f"{direction} {before:.3f} to {written['directions'][direction]:.3f}"
            for direction, before in (start or {}).get("directions", {}).items()
            if language in direction.split(",")[0].split("->")
            and before - written["directions"].get(direction, before) > LANGUAGE_LOSS
        ]
        if fallen:
            finding = (
                f"{language!r}, which the start served and the training split lacks, was unlearnt: {', '.join(fallen)}"
            )
            yield Alarm("unlearnt", finding, f"add pairs in {language!r} to the training split", usable=True)
