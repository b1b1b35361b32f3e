"""How much is trained where the configuration says ``auto``: the sources' shares of an epoch, and the steps of a stage.

Both follow from the training records alone, so the same records give the same numbers. What is learnt across languages
comes from aligned records, those with queries or documents in two languages, so these are what is counted; where there
are none, all records are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from osparse.trainer.config.run_config import MaskedLm, Mixing, Ranking
from osparse.trainer.data.batch_sampler import shares
from osparse.trainer.data.training_records import TrainingRecord, TrainingRecords

ALIGNED_SHARE = 0.4
"""Of the records dealt: with fewer, too few documents of the second language share a batch (docs/quality.md)."""
EXPONENTS = np.round(np.arange(21) * 0.05, 2)
PASSES = {"mlm": 2.7, "ranking": 4.0}
"""Over the aligned records: more were no better on deb-koen (docs/quality.md)."""
FEWEST_STEPS = 150
"""From random weights; with fewer the network of a few hundred records learns nothing."""


@dataclass(frozen=True, eq=False)
class Amounts:
    """What the records hold, counted once."""

    records: TrainingRecords
    source: NDArray[np.int64]
    """(R,) number of each record's source."""
    aligned: NDArray[np.bool_]
    """(R,) whether it has queries or documents in two languages."""
    owner: NDArray[np.int64]
    """(D,) record of each document."""
    lengths: NDArray[np.int64]
    """(D,) token ids of each document, without special ones."""

    @classmethod
    def of(cls, records: TrainingRecords) -> Amounts:
        aligned, owner, lengths = [], list[int](), list[int]()
        for number, record in enumerate(records.records):
            aligned.append(in_two_languages(record))
            owner += [number] * len(record.documents)
            lengths += [len(document.ids) for document in record.documents]
        return cls(
            records,
            records.sources[1],
            np.array(aligned, np.bool_),
            np.array(owner, np.int64),
            np.array(lengths, np.int64),
        )

    def dealt(self, mixing: Mixing | None) -> NDArray[np.float64]:
        """(R,) probability of each record to be dealt in an epoch."""
        drawn = shares(self.records, mixing)
        if drawn is None:
            return np.ones(len(self.source))
        return (drawn.records / np.bincount(self.source))[self.source]

    def aligned_share(self, mixing: Mixing | None) -> float:
        """Of the records dealt in an epoch."""
        dealt = self.dealt(mixing)
        return float(dealt[self.aligned].sum() / dealt.sum())

    def tokens(self, mixing: Mixing | None, max_length: int) -> float:
        """Mean document tokens of a record that is dealt, each document cut to ``max_length``."""
        per_record = np.bincount(self.owner, np.minimum(self.lengths, max_length), minlength=len(self.source))
        return float(np.average(per_record, weights=self.dealt(mixing)))


@dataclass(frozen=True)
class StageSteps:
    """The steps of a stage, and where they come from."""

    steps: int
    tokens: float
    """Document tokens that the stage encodes."""
    reason: str

    def within(self, share: float, budget: int) -> StageSteps:
        """``share`` of the steps, for a budget of tokens that all of them would exceed."""
        steps = max(1, int(self.steps * share))
        reason = f"{self.reason}, cut to {100 * share:.0f} % by the budget of {budget:,} document tokens"
        return StageSteps(steps, self.tokens * steps / self.steps, reason)


def in_two_languages(record: TrainingRecord) -> bool:
    return any(len({text.lang for text in texts}) > 1 for texts in (record.queries, record.documents))


def mixing_exponent(amounts: Amounts, mixing: Mixing) -> tuple[float, str]:
    """The exponent for :data:`ALIGNED_SHARE`, the largest if several are as near; and what it does."""
    if not amounts.aligned.any():
        return 1.0, "no training record has texts in two languages, so all are dealt"
    made = [replace(mixing, exponent=float(exponent)) for exponent in EXPONENTS]
    reached = np.array([amounts.aligned_share(one) for one in made])
    if reached[-1] >= ALIGNED_SHARE:
        return 1.0, f"{100 * reached[-1]:.0f} % of all records are aligned, so all are dealt"
    distance = np.abs(reached - ALIGNED_SHARE)
    best = int(np.flatnonzero(distance == distance.min())[-1])
    return float(EXPONENTS[best]), f"{100 * reached[best]:.0f} % of the records dealt are aligned"


def stage_steps(amounts: Amounts, stage: MaskedLm | Ranking, groups: int) -> StageSteps:
    """The steps of a stage by :data:`PASSES`; its mixing is settled, ``groups`` limit its batch."""
    batch = min(stage.batch, groups)
    aligned = int(amounts.aligned.sum())
    counted, share, kind = aligned, amounts.aligned_share(stage.mixing), "aligned records"
    if not aligned:
        counted, share, kind = len(amounts.aligned), 1.0, "records"
    passes = PASSES[stage.task]
    wished = 10 * round(passes * counted / (batch * share) / 10)
    steps = max(FEWEST_STEPS, wished)
    actual = steps * batch * share / counted
    reason = f"{actual:.1f} passes over {counted:,} {kind}, {share * batch:.0f} of them in a batch"
    if steps > wished:
        reason += f" (the fewest steps, where {passes} passes would be {wished})"
    return StageSteps(steps, steps * batch * amounts.tokens(stage.mixing, stage.max_length), reason)
