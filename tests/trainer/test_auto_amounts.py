"""Steps and mixing that follow from the training records, against the shares written out."""

from __future__ import annotations

import math

import numpy as np
import pytest

from osparse.io.settings import read_settings
from osparse.trainer import TrainConfig
from osparse.trainer.config.named_config import config_file
from osparse.trainer.config.run_config import MaskedLm, Mixing, Ranking
from osparse.trainer.data.training_records import TokenisedText, TrainingRecord, TrainingRecords
from osparse.trainer.loop.auto_amounts import ALIGNED_SHARE, Amounts, mixing_exponent
from osparse.trainer.loop.auto_settings import Settled, settle

LENGTH = 120


def records(**sources: tuple[int, tuple[str, ...]]) -> TrainingRecords:
    """Source -> how many records it has, and the languages of each of them."""
    made = []
    for source, (count, languages) in sources.items():
        for number in range(count):
            name = f"{source}{number}"
            texts = [TokenisedText(f"{name}{lang}", lang, np.full(LENGTH, 7)) for lang in languages]
            made.append(TrainingRecord(name, source, texts[:1], texts))
    return TrainingRecords(made, tuple(sorted({lang for _, langs in sources.values() for lang in langs})), {})


def quality(trained_on: TrainingRecords, *changes: str) -> Settled:
    return settle(read_settings(TrainConfig, config_file("quality"), ["tokenizer=t", "idf=i", *changes]), trained_on)


@pytest.mark.parametrize(("aligned", "others"), [(292, 3990), (100, 900), (100, 250)])
def test_about_two_fifths_of_an_epoch_are_aligned(aligned: int, others: int) -> None:
    """n x (m / n)^e = 1.5 n has the solution e = ln 1.5 / ln(m / n); the exponent is that one to .05."""
    both = Amounts.of(records(debian=(aligned, ("ko", "en")), more=(others, ("en",))))
    exponent, reason = mixing_exponent(both, Mixing())
    assert exponent == pytest.approx(
        math.log((1 - ALIGNED_SHARE) / ALIGNED_SHARE) / math.log(others / aligned), abs=0.025
    )
    share = aligned / (aligned + aligned * (others / aligned) ** exponent)
    assert both.aligned_share(Mixing(exponent=exponent)) == pytest.approx(share, abs=0.01)
    assert f"{100 * share:.0f} % of the records dealt are aligned" in reason


def test_nothing_is_left_out_where_most_is_aligned_or_nothing_is() -> None:
    for some in (records(a=(30, ("ko", "en")), b=(40, ("ko",))), records(a=(30, ("ko",)), b=(400, ("ko",)))):
        assert mixing_exponent(Amounts.of(some), Mixing())[0] == 1.0


def test_steps_are_passes_over_the_aligned_records() -> None:
    """Of 2,800 aligned records, all that there is, 64 of a batch: 4 x 2,800 / 64 = 175 steps."""
    made = quality(records(a=(2800, ("de", "en"))))
    mlm, ranking = (stage for stage in made.config.stages if isinstance(stage, MaskedLm | Ranking))
    assert (mlm.steps, ranking.steps) == (170, 180)  # 2.7 x 2,800 / 44 = 172; to tens
    assert made.values["stages.ranking.steps"] == 180 and made.config.validation.every == 90
    said = next(note for note in made.notes if note.startswith("stages.ranking.steps"))
    assert "4.1 passes over 2,800 aligned records" in said and f"{180 * 64 * 2 * LENGTH:,} document tokens" in said


def test_few_records_have_the_fewest_steps_and_one_language_has_steps_too() -> None:
    made = quality(records(a=(300, ("ko",))))
    assert [stage.steps for stage in made.config.stages if isinstance(stage, MaskedLm | Ranking)] == [150, 150]
    assert "32.0 passes over 300 records" in "".join(made.notes) and "the fewest steps" in "".join(made.notes)


def test_the_budget_cuts_the_stages_alike() -> None:
    """Documents of 120 tokens, cut to 96 in the masked-LM stage: 170 x 44 x 2 x 96 + 180 x 64 x 2 x 120 tokens."""
    total = 170 * 44 * 2 * 96 + 180 * 64 * 2 * 120
    made = quality(records(a=(2800, ("de", "en"))), f"budget={total // 2}")
    mlm, ranking = (stage for stage in made.config.stages if isinstance(stage, MaskedLm | Ranking))
    assert (mlm.steps, ranking.steps) == (85, 90) and "cut to 50 % by the budget" in "".join(made.notes)
    assert quality(records(a=(2800, ("de", "en"))), f"budget={total}").values["stages.mlm.steps"] == 170


def test_steps_that_are_given_stay() -> None:
    made = quality(records(a=(300, ("ko", "en"))), "stages.mlm.steps=7", "stages.ranking.steps=8", "budget=1")
    assert [stage.steps for stage in made.config.stages if isinstance(stage, MaskedLm | Ranking)] == [7, 8]
    assert "stages.mlm.steps" not in made.values
