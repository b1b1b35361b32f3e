"""Losses at several numbers of non-zeros: against plain vectors that are cut one by one, in closed form, refused settings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import world
from torch import Tensor

from osparse.contracts.dataset import Dataset
from osparse.encoders.lexical_table import LexicalTable
from osparse.encoders.torch_encoder import SparseEncoder
from osparse.errors import ConfigError
from osparse.formula.head import Head
from osparse.formula.pruning import prune
from osparse.io.settings import read_settings
from osparse.trainer import TrainConfig
from osparse.trainer.config.named_config import config_file
from osparse.trainer.config.run_config import Matryoshka, Ranking, SparsityConfig
from osparse.trainer.data.padding import SpecialTokens
from osparse.trainer.data.record_reader import read_records
from osparse.trainer.losses import idf_scores
from osparse.trainer.losses.matryoshka import budgets_keeping, cut_to_budgets
from osparse.trainer.stages.ranking import RankingStage

BUDGETS = (3, 9)


@pytest.fixture(scope="module")
def stage(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> RankingStage:
    """With a lexical table, which decides what is kept and is not in the scores."""
    from transformers import AutoModelForMaskedLM

    model = world.make_model(tmp_path_factory.mktemp("matryoshka") / "model")
    mlm = AutoModelForMaskedLM.from_pretrained(model.path)
    for module in mlm.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    rows = mlm.get_output_embeddings().weight.shape[0]
    table = LexicalTable(torch.arange(rows)[:, None], torch.full((rows, 1), 0.5), k1=1.2, b=0.75, average=20.0)
    encoder = SparseEncoder(mlm, Head(max_length=64, masked_ids=model.head.masked_ids, top_k=40), table).train()
    ranking = Ranking(
        steps=10, batch=3, lr=1e-3, schedule="linear", warmup=0.0, max_length=64, temperature=2.0, spans=2,
        neighbours=0, span_weight=0.5,
        matryoshka=Matryoshka(budgets=BUDGETS, weight=0.7, self_distillation=0.3),
    )  # fmt: skip
    records = read_records(dataset, model.path / "tokenizer.json", model.lexicon)
    special = SpecialTokens.of(model.path / "tokenizer.json")
    sparsity = SparsityConfig(weight=0.0, warmup=0.0, columns=50)
    return RankingStage(encoder, ranking, sparsity, records, model.lexicon.idf, special, 1)


def softmax_losses(scores: Tensor, stage: RankingStage, batch: Any) -> Tensor:
    """(Q, D) -> (Q, D) log softmax over each query's candidates, -inf outside them."""
    allowed = torch.from_numpy(batch.candidates())
    return (scores / stage.config.temperature).masked_fill(~allowed, -torch.inf).log_softmax(1)


def test_the_losses_equal_those_of_vectors_cut_one_by_one(stage: RankingStage) -> None:
    parts = stage.backward(0).parts
    batch = stage.batches.at(0, np.random.default_rng([*stage.seed, 1, 0]))
    whole, served = [], []
    with torch.no_grad():
        for ids in [column.ids for column in batch.columns]:
            framed = torch.from_numpy(np.concatenate([stage.special.before, ids, stage.special.after]))[None]
            mask = torch.ones_like(framed)
            whole.append(stage.encoder(framed, mask)[0])
            served.append(stage.encoder.eval()(framed, mask)[0].numpy())
            stage.encoder.train()
    queries = torch.zeros(len(batch.queries), len(whole[0]))
    for row, query in enumerate(batch.queries):
        queries[row, query.ids] = stage.idf[query.ids]
    share = torch.tensor([query.weight for query in batch.queries])
    share /= share.sum()
    targets = torch.tensor([query.target for query in batch.queries])
    full = softmax_losses(queries @ torch.stack(whole).T, stage, batch)
    assert parts["ranking"] == pytest.approx(float(-(full.gather(1, targets[:, None])[:, 0] * share).sum()), rel=1e-4)
    ranking, divergence = 0.0, 0.0
    for budget in BUDGETS:
        cut = [w * torch.from_numpy(prune(s, Head(top_k=budget)) > 0) for w, s in zip(whole, served, strict=True)]
        logs = softmax_losses(queries @ torch.stack(cut).T, stage, batch)
        ranking += float(-(logs.gather(1, targets[:, None])[:, 0] * share).sum()) / len(BUDGETS)
        each = torch.where(full.isinf(), 0.0, full.exp() * (full - logs)).sum(1)
        divergence += 2.0**2 * float((each * share).sum()) / len(BUDGETS)
    assert parts["budgets"] == pytest.approx(0.7 * ranking, rel=1e-4)
    assert parts["self_distillation"] == pytest.approx(0.3 * divergence, rel=1e-3) and divergence > 0
    assert parts["loss"] == pytest.approx(parts["ranking"] + parts["budgets"] + parts["self_distillation"], rel=1e-5)


def test_micro_batches_give_the_gradients_of_the_whole_batch(stage: RankingStage) -> None:
    gradients = []
    for micro_batch in (None, 2):
        stage.micro_batch = micro_batch
        stage.encoder.zero_grad()
        stage.backward(1)
        gradient = stage.encoder.decoder.weight.grad
        assert gradient is not None
        gradients.append(gradient.clone())
    stage.micro_batch = None
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)


def test_a_cut_keeps_the_largest_and_its_gradient() -> None:
    """Weights 4, 3, 3, 1, 0 and a query that asks for each once: budget 2 keeps the tie, so its score is 4 + 3 + 3."""
    weights = torch.tensor([[4.0, 1.0, 3.0, 0.0, 3.0]], requires_grad=True)
    columns = torch.tensor([1, 0, 3, 2, 4])
    counts = budgets_keeping(weights.detach(), (1, 2, 9), columns)
    assert counts.tolist() == [[1.0, 3.0, 0.0, 2.0, 2.0]]
    one, two, nine = cut_to_budgets(weights[:, columns], counts, 3)
    scores = [idf_scores(torch.ones(1, 5), cut).item() for cut in (one, two, nine)]
    assert scores == [4.0, 10.0, 11.0]
    two.sum().backward()
    assert weights.grad is not None and weights.grad.tolist() == [[1.0, 0.0, 1.0, 0.0, 1.0]]


REFUSED = [
    ([], "budgets: there are none"),
    ([0, 64], "budgets: must be at least 1, got 0"),
    ([64, 32], r"budgets: must ascend without repetition, got \[64, 32\]"),
    ([32, 32], "budgets: must ascend"),
    ([32, 201], "matryoshka.budgets 201 is above head.top_k 200"),
]


@pytest.mark.parametrize(("budgets", "said"), REFUSED)
def test_budgets_that_cannot_be_are_refused(budgets: list[int], said: str) -> None:
    sets = ["tokenizer=t", "idf=i.json", "head.keep_own=false", "head.top_k=200"]
    with pytest.raises(ConfigError, match=said):
        read_settings(
            TrainConfig, config_file("quickstart"), [*sets, f"stages.ranking.matryoshka={{budgets: {budgets}}}"]
        )
