"""The figures of a validation against the dense formula over every document."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from osparse.contracts.dataset import Dataset
from osparse.contracts.model import Model
from osparse.encoders.torch_encoder import SparseEncoder, TextEncoder
from osparse.formula.lexicon import load_tokenizer
from osparse.formula.query_encoder import QueryEncoder
from osparse.masked_lm.load import load_masked_lm
from osparse.trainer.loop.validation import Validation


@pytest.fixture(scope="module")
def encoder(model: Model) -> SparseEncoder:
    return SparseEncoder(load_masked_lm(model.path, "eager"), model.head)


@pytest.fixture(scope="module")
def validation(dataset: Dataset, model: Model) -> Validation:
    return Validation(dataset, model.path / "tokenizer.json", model.lexicon, distractors=100, seed=0)


def test_posting_lists_and_flops_are_the_dense_formulas(
    validation: Validation, encoder: SparseEncoder, dataset: Dataset, model: Model
) -> None:
    found = validation.measure(encoder)
    rows = dataset.documents.filter().select("id", "text", "lang").collect()
    held = set(dataset.split_documents("test").select("id").collect()["id"])
    queries = QueryEncoder(load_tokenizer(model.path / "tokenizer.json"), model.lexicon)
    asked = dataset.split_queries("validation").select("text").collect()["text"].to_list()
    reader = TextEncoder(encoder, model.path / "tokenizer.json")
    chance = torch.zeros(len(model.lexicon.tokens), dtype=torch.float64)
    for text in asked:
        chance[queries.ids(text)] += 1 / len(asked)
    longest, flops = [], []
    for lang in ("en", "ko"):
        texts = [text for name, text, its in rows.rows() if its == lang and name not in held]
        vectors = np.concatenate([weights for _, weights in reader.batches(texts)])
        share = (vectors > 0).mean(0)
        longest.append(share.max())
        flops.append(float(chance @ torch.from_numpy(share[: len(chance)])))
    assert found["posting_max"] == pytest.approx(max(longest), abs=1e-4)
    assert found["flops"] == pytest.approx(np.mean(flops), abs=1e-3)
    assert found["nonzeros_max"] >= found["nonzeros"] > 0 and found["documents"] == 12


def test_a_budget_is_measured_as_a_head_that_keeps_so_many(
    encoder: SparseEncoder, dataset: Dataset, model: Model
) -> None:
    path, head = model.path / "tokenizer.json", encoder.head
    several = Validation(dataset, path, model.lexicon, distractors=100, seed=0, budgets=(2, 6)).measure(encoder)
    plain = Validation(dataset, path, model.lexicon, distractors=100, seed=0)
    try:
        for budget, ndcg in several["budgets"].items():
            encoder.head = replace(head, top_k=int(budget))
            assert plain.measure(encoder)["ndcg"] == ndcg
    finally:
        encoder.head = head
    assert several["budgets"].keys() == {"2", "6"} and several["budgets"]["2"] < several["ndcg"]


def test_learnt_query_weights_count(validation: Validation, encoder: SparseEncoder, model: Model) -> None:
    """Reversed weights must give another ranking, equal ones the same."""
    plain = validation.measure(encoder)
    encoder.register_parameter("log_idf", torch.nn.Parameter(torch.from_numpy(model.lexicon.idf).log()))
    try:
        assert validation.measure(encoder) == plain
        with torch.no_grad():
            learnt = encoder.get_parameter("log_idf")
            learnt.fill_(-8.0)
            learnt[::2] = 3.0
        assert validation.measure(encoder)["directions"] != plain["directions"]
    finally:
        del encoder._parameters["log_idf"]
