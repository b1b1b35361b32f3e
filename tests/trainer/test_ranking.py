from __future__ import annotations

import numpy as np
import pytest
import torch
import world

from osparse.contracts.dataset import Dataset
from osparse.contracts.model import Model
from osparse.encoders.torch_encoder import SparseEncoder
from osparse.formula.head import Head
from osparse.formula.lexicon import load_tokenizer
from osparse.formula.query_encoder import QueryEncoder
from osparse.trainer.config.run_config import Alarms, Ranking, SparsityConfig
from osparse.trainer.data.padding import SpecialTokens
from osparse.trainer.data.record_reader import read_records
from osparse.trainer.stages.ranking import RankingStage
from osparse.trainer.stages.sparsity import Sparsity


@pytest.fixture(scope="module")
def stage(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> RankingStage:
    from transformers import AutoModelForMaskedLM

    model = world.make_model(tmp_path_factory.mktemp("ranking") / "model", extra_rows=3)
    tokenizer = model.path / "tokenizer.json"
    mlm = AutoModelForMaskedLM.from_pretrained(model.path).eval()
    encoder = SparseEncoder(mlm, Head(max_length=64, masked_ids=model.head.masked_ids))
    ranking = Ranking(
        steps=10, batch=3, lr=1e-3, schedule="linear", warmup=0.0, max_length=64, temperature=2.0, spans=2,
        neighbours=0,
        span_weight=0.5,
    )  # fmt: skip
    records = read_records(dataset, tokenizer, model.lexicon)
    sparsity = SparsityConfig(weight=0.0, warmup=0.0, columns=50)
    return RankingStage(encoder, ranking, sparsity, records, model.lexicon.idf, SpecialTokens.of(tokenizer), 1)


def test_records_are_the_connected_parts(stage: RankingStage) -> None:
    assert len(stage.records) == 5 and stage.records.languages == ("en", "ko")
    assert all(len(r.queries) == 2 and len(r.documents) == 2 for r in stage.records.records)


def test_queries_are_what_the_served_tokenizer_makes(stage: RankingStage, model: Model, dataset: Dataset) -> None:
    served = QueryEncoder(load_tokenizer(model.path / "tokenizer.json"), model.lexicon)
    texts = dict(dataset.queries.select("id", "text").collect().rows())
    records = read_records(dataset, model.path / "tokenizer.json", model.lexicon)
    for record in records.records:
        for query in record.queries:
            assert query.ids.tolist() == served.ids(texts[query.id])


def test_no_candidate_is_a_known_positive_or_of_another_language(stage: RankingStage) -> None:
    batch = stage.batches.at(0, np.random.default_rng(0))
    allowed = batch.candidates()
    assert len(batch.documents) == 6 and len(batch.queries) == 3 * (2 * 2 + 2 * 2)
    for row, query in enumerate(batch.queries):
        target = query.target
        found = [batch.documents[i] for i in np.flatnonzero(allowed[row])]
        assert {d.lang for d in found} == {batch.documents[target].lang}
        assert [d.id for d in found if d.id in query.relevant] in ([batch.documents[target].id], [])
        assert allowed[row, target] and len(found) == 3


def test_a_copy_of_the_target_is_no_negative(stage: RankingStage) -> None:
    batch = stage.batches.at(0, np.random.default_rng(0))
    target = batch.queries[0].target
    twin = next(i for i, d in enumerate(batch.documents) if i != target and d.lang == batch.documents[target].lang)
    copy = type(batch.documents[0])("twin", batch.documents[target].lang, batch.documents[target].ids)
    batch.columns[twin].document = copy
    assert not batch.candidates()[0, twin]


def test_the_loss_equals_the_full_vocabulary_formula(stage: RankingStage) -> None:
    """Chosen columns against every column, dense query vectors, one document at a time, plain softmax."""
    parts = stage.backward(0).parts
    batch = stage.batches.at(0, np.random.default_rng([*stage.seed, 1, 0]))
    special = stage.special
    rows = []
    with torch.inference_mode():
        for ids in [column.ids for column in batch.columns]:
            framed = torch.from_numpy(np.concatenate([special.before, ids, special.after]))[None]
            rows.append(stage.encoder(framed, torch.ones_like(framed))[0])
    documents = torch.stack(rows)
    losses, allowed = [], batch.candidates()
    for row, asked in enumerate(batch.queries):
        query, target = asked.ids, asked.target
        vector = torch.zeros(documents.shape[1])
        vector[query] = stage.idf[query]
        scores = (documents @ vector / stage.config.temperature).exp() * torch.from_numpy(allowed[row])
        losses.append(-torch.log(scores[target] / scores.sum()) * asked.weight)
    assert parts["ranking"] == pytest.approx(
        float(torch.stack(losses).sum()) / sum(asked.weight for asked in batch.queries), rel=1e-4
    )


def test_the_gradient_reaches_every_parameter_but_masked_rows(stage: RankingStage) -> None:
    stage.encoder.zero_grad()
    stage.backward(1)
    gradient = stage.encoder.decoder.bias.grad
    assert gradient is not None and gradient.abs().sum() > 0
    assert not gradient[list(stage.encoder.head.masked_ids)].any()


@pytest.mark.parametrize("emptied", [0.0, 0.5])
def test_the_share_of_empty_documents_is_that_over_all_columns(
    stage: RankingStage, dataset: Dataset, emptied: float
) -> None:
    """Very sparse documents are not called empty because the columns of a step pass their weights over."""
    encoder, before = stage.encoder, stage.encoder.decoder.bias.detach().clone()
    inputs = [column.ids for column in stage.batches.at(0, np.random.default_rng([*stage.seed, 1, 0])).columns]
    everything = np.arange(encoder.decoder.weight.shape[0])
    with torch.no_grad():
        encoder.decoder.bias.add_(100.0)  # all logits positive, so that the largest of each document is known
        largest = stage._encode(inputs, everything).max(1).values.expm1()
        shift = largest.quantile(emptied) + (1e-3 if emptied else -1e-3)
        encoder.decoder.bias.sub_(shift)
    alarms = Alarms(empty=0.9, nonzeros=1e9, action="warn")
    watched = Sparsity(
        SparsityConfig(weight=0.0, warmup=0.0, columns=1, alarms=alarms), 10, stage.idf.numpy(), len(everything)
    )
    plain, stage.sparsity = stage.sparsity, watched
    try:
        state = torch.get_rng_state()
        stage.backward(0)
        assert torch.equal(torch.get_rng_state(), state)
        with torch.no_grad():
            exact = float((stage._encode(inputs, everything) == 0).all(1).float().mean())
        assert watched.empty == pytest.approx(exact) and (exact > 0) == (emptied > 0)
    finally:
        stage.sparsity = plain
        with torch.no_grad():
            encoder.decoder.bias.copy_(before)
