"""The choice of the table's weights: its figures against a whole validation, its rule against the formula."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from osparse.contracts.dataset import Dataset
from osparse.contracts.model import Model
from osparse.encoders.lexical_table import LexicalTable
from osparse.encoders.torch_encoder import SparseEncoder
from osparse.evaluation.measures import NDCG, Measures
from osparse.masked_lm.load import load_masked_lm
from osparse.trainer.config.run_config import LexicalConfig
from osparse.trainer.loop import table_choice
from osparse.trainer.loop.table_choice import choose_table, paired_difference, reweighted
from osparse.trainer.loop.validation import Validation

CONFIG = LexicalConfig(own=0.5, translated=0.7)


@pytest.fixture
def encoder(model: Model) -> SparseEncoder:
    encoder = SparseEncoder(load_masked_lm(model.path, "eager"), replace(model.head, top_k=30))
    rows = len(encoder.keep)
    targets = torch.stack([torch.arange(rows), torch.arange(rows).flip(0)], 1)
    weights = torch.tensor([CONFIG.own, CONFIG.translated]).expand(rows, 2).clone()  # type: ignore[arg-type]
    encoder.lexical = LexicalTable(targets, weights, k1=1.2, b=0.75, average=20)
    return encoder


@pytest.mark.parametrize("nonzeros", [None, 12])
def test_each_choice_is_measured_as_a_whole_validation_measures_it(
    nonzeros: int | None, encoder: SparseEncoder, dataset: Dataset, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    validation = Validation(
        dataset, model.path / "tokenizer.json", model.lexicon, distractors=100, seed=0, nonzeros=nonzeros
    )
    tried = {"own": (0.0, 2.0), "translated": (0.0, 3.0)}
    monkeypatch.setattr(table_choice, "TRIED", tried)
    table = encoder.lexical
    assert table is not None
    documents = [
        table_choice._documents(validation, encoder, table, {"own": 0.5, "translated": 0.7}, lang)
        for lang in validation.corpora
    ]
    for own in tried["own"]:
        for translated in (*tried["translated"], 0.7):
            values = {"own": own, "translated": translated}
            seen = table_choice._ranked(validation, encoder, documents, values)
            encoder.lexical = reweighted(table, CONFIG, values)
            whole = validation.measure(encoder)["directions"]
            for judged, measures in zip(validation.sets, seen, strict=True):
                assert round(measures.mean(NDCG), 4) == whole[judged.direction]
            encoder.lexical, encoder.training = table, False


def test_the_weights_that_do_best_are_taken_and_said(
    encoder: SparseEncoder, dataset: Dataset, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    validation = Validation(dataset, model.path / "tokenizer.json", model.lexicon, distractors=100, seed=0)
    measured = {0.5: [0.2, 0.4, 0.6], 1.0: [0.5, 0.8, 0.8], 3.0: [0.1, 0.2, 0.3]}

    def ranked(_: object, __: object, ___: object, values: dict[str, float]) -> list[Measures]:
        return [measures(*measured.get(values["own"], [0.0, 0.0, 0.0]))]

    monkeypatch.setattr(table_choice, "_ranked", ranked)
    before = encoder.lexical
    choice = choose_table(validation, encoder, CONFIG, ("own",))
    assert choice.config == replace(CONFIG, own=1.0) and choice.values == {"lexical_table.own": 1.0}
    assert "1 is chosen" in choice.notes[0] and "0.5 0.4000" in choice.notes[0] and "1 0.7000" in choice.notes[0]
    assert before is not None and encoder.lexical is not None
    np.testing.assert_allclose(encoder.lexical.weights, before.weights * torch.tensor([2.0, 1.0]))
    measured[1.0] = [0.0, 0.9, 0.6]  # better by .1 on average, with a standard error of .2
    encoder.lexical = before
    choice = choose_table(validation, encoder, CONFIG, ("own",))
    assert choice.config == CONFIG and "is not above its standard error" in choice.notes[0]


def measures(*values: float) -> Measures:
    return Measures({NDCG: {f"q{number}": value for number, value in enumerate(values)}})


def test_a_query_in_several_directions_is_one_observation() -> None:
    """Against the mean and standard error of the queries' mean differences, where every direction has all queries."""
    generator = np.random.default_rng(0)
    ours, theirs = generator.random((3, 8)), generator.random((3, 8))
    gain, error = paired_difference([measures(*row) for row in ours], [measures(*row) for row in theirs])
    per_query = (ours - theirs).mean(0)
    assert gain == pytest.approx(per_query.mean()) and error == pytest.approx(per_query.std(ddof=1) / np.sqrt(8))
    assert paired_difference([measures(1.0)], [measures(0.5)]) == (0.5, float("inf"))
