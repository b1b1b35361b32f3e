"""The table that a run makes: translations against IBM Model 1 written out, and what the trained model holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from osparse.algorithms.ibm_model1 import ITERATIONS
from osparse.contracts.dataset import Dataset
from osparse.encoders.torch_encoder import TextEncoder
from osparse.io.settings import read_settings
from osparse.trainer import train
from osparse.trainer.config.run_config import EncoderConfig, LexicalConfig, TrainConfig
from osparse.trainer.data.padding import SpecialTokens
from osparse.trainer.data.training_records import TokenisedText, TrainingRecord, TrainingRecords
from osparse.trainer.stages.lexical import lexical_table, translations

FRAME = SpecialTokens(np.array([2]), np.array([3]), 0, 4)


def text(lang: str, *ids: int) -> TokenisedText:
    return TokenisedText(f"{lang}{ids}", lang, np.array(ids, dtype=np.int64))


def record(ko: tuple[int, ...], en: tuple[int, ...], title: tuple[int, int] | None = None) -> TrainingRecord:
    titles = [] if title is None else [text("ko", title[0]), text("en", title[1])]
    return TrainingRecord(queries=titles, documents=[text("ko", *ko), text("en", *en)])


ALIGNED = TrainingRecords(
    [record((5, 6), (15, 16), (5, 15)), record((5, 7), (15, 17)), record((8,), (8,))], ("en", "ko"), {}
)


def naive(units: list[tuple[list[int], list[int]]]) -> dict[tuple[int, int], float]:
    """Model 1 with the empty word -1, starting uniform over the targets seen with a source."""
    units = [([*s, -1], t) for s, t in units]
    seen = {(f, e) for s, t in units for f in s for e in t}
    table = {(f, e): 1 / sum(g == f for g, _ in seen) for f, e in seen}
    for _ in range(ITERATIONS):
        counts = dict.fromkeys(seen, 0.0)
        for s, t in units:
            for e in t:
                for f in s:
                    counts[f, e] += table[f, e] / sum(table[g, e] for g in s)
        table = {(f, e): c / sum(v for (g, _), v in counts.items() if g == f) for (f, e), c in counts.items()}
    return table


def test_a_document_token_is_worth_the_query_tokens_that_it_translates() -> None:
    config = LexicalConfig(own=0.3, translated=1.0, floor=1e-9, entries=10)
    found = translations(config, ALIGNED, 20, 64).toarray()
    ko = naive([([5], [15]), ([5, 6], [15, 16]), ([5, 7], [15, 17]), ([8], [8])])
    en = naive([([15], [5]), ([15, 16], [5, 6]), ([15, 17], [5, 7]), ([8], [8])])
    for (asked, answer), probability in {**ko, **en}.items():
        if asked >= 0 and asked != answer:
            assert found[answer, asked] == pytest.approx(probability, abs=1e-9)
    assert found[15, 5] > 0.9 and found[8, 8] == 0  # a token is no translation of itself
    assert (found > 0).sum() == sum(f >= 0 and f != e for f, e in {**ko, **en})


def test_floor_entries_and_weights() -> None:
    every = translations(LexicalConfig(own=0, translated=1, floor=1e-9, entries=10), ALIGNED, 20, 64).toarray()
    two = translations(LexicalConfig(own=0, translated=1, floor=1e-9, entries=1), ALIGNED, 20, 64).toarray()
    for row, kept in zip(every, two, strict=True):
        assert kept.max() == row.max() and (kept > 0).sum() == min(1, (row > 0).sum())
    sure = translations(LexicalConfig(own=0, translated=1, floor=0.5, entries=10), ALIGNED, 20, 64).toarray()
    np.testing.assert_array_equal(sure, np.where(every >= 0.5, every, 0))
    table = lexical_table(LexicalConfig(own=0.3, translated=2.0, floor=0.5), ALIGNED, 20, FRAME, 64)
    assert table.average == pytest.approx(np.mean([4, 4, 4, 4, 3, 3]))
    added = table(torch.tensor([[15]]), torch.tensor([[1]]))[0]
    saturated = 2.2 / (1 + 1.2 * (0.25 + 0.75 / table.average))
    assert added[15] == pytest.approx(0.3 * saturated) and added[5] == pytest.approx(2 * sure[15, 5] * saturated)


def test_without_translations_the_table_has_the_tokens_themselves(caplog: pytest.LogCaptureFixture) -> None:
    alone = TrainingRecords([TrainingRecord(documents=[text("ko", 5, 6)])], ("ko",), {})
    table = lexical_table(LexicalConfig(own=1.0, translated=0.0), alone, 20, FRAME, 64)
    assert table.targets.tolist() == [[i] for i in range(20)] and not caplog.text
    unsure = lexical_table(LexicalConfig(own=1.0, translated=1.0, floor=1.0), ALIGNED, 20, FRAME, 64)
    assert unsure.targets.shape[1] <= 2
    nothing = lexical_table(LexicalConfig(own=1.0, translated=1.0), alone, 20, FRAME, 64)
    assert torch.equal(nothing.targets, table.targets) and "lexical_table.translated has no effect" in caplog.text


def test_a_run_with_a_table_and_a_target_of_non_zeros(yaml: Path, dataset: Dataset, tmp_path: Path) -> None:
    config = read_settings(TrainConfig, yaml, ["head.top_k=null", "head.nonzeros=25", "validation.every=100"])
    with_table = replace(config, lexical_table=LexicalConfig(own=0.5, translated=1.0))
    model = train(with_table, dataset, tmp_path / "model")
    assert model.metrics["nonzeros"] <= 25 < model.metrics["nonzeros"] + 3
    assert model.head.prune_ratio == model.metrics["prune_ratio"] > 0
    encoder = TextEncoder.open(model).encoder
    assert encoder.lexical is not None
    plain = train(config, dataset, tmp_path / "plain")
    other = TextEncoder.open(plain).encoder
    assert other.lexical is None
    for one, same in zip(encoder.mlm.parameters(), other.mlm.parameters(), strict=True):
        assert torch.equal(one, same)  # the table is in no gradient
    started = replace(config, encoder=EncoderConfig(start=model.path), stages=config.stages[2:])
    again = train(started, dataset, tmp_path / "again")
    kept = TextEncoder.open(again).encoder.lexical  # of the model it starts from
    assert kept is not None and torch.equal(kept.weights, encoder.lexical.weights)
