"""Training with feedback: the query is the served one, the loss the written formula, a resumed stage continues alike."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
import world

from osparse.contracts.dataset import Dataset
from osparse.contracts.model import Model
from osparse.encoders.torch_encoder import TextEncoder
from osparse.formula.lexicon import load_tokenizer
from osparse.formula.query_encoder import QueryEncoder
from osparse.io.settings import checked
from osparse.retrieval.serving.settings import Feedback, Setting
from osparse.retrieval.tuning.offline.simulate import SimulatedIndex, _Query
from osparse.retrieval.tuning.offline.stored import StoredVectors
from osparse.trainer.config.run_config import Distillation, QueryFeedback, Ranking, SparsityConfig, Teacher
from osparse.trainer.data.padding import SpecialTokens
from osparse.trainer.data.record_reader import read_records
from osparse.trainer.stages.ranking import RankingStage
from osparse.trainer.stages.teachers import LabelsTeacher

CHOICE = QueryFeedback(documents=2, tokens=5, share=0.5, refresh=3)


@pytest.fixture(scope="module")
def trained_from(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return world.make_model(tmp_path_factory.mktemp("feedback") / "model", extra_rows=3)


@pytest.fixture
def stage(trained_from: Model, dataset: Dataset) -> RankingStage:
    return make_stage(trained_from, dataset, CHOICE)


def make_stage(model: Model, dataset: Dataset, feedback: QueryFeedback | None) -> RankingStage:
    tokenizer = model.path / "tokenizer.json"
    records = read_records(dataset, tokenizer, model.lexicon)
    config = Ranking(
        steps=10, batch=3, lr=1e-3, schedule="linear", warmup=0.0, max_length=64, temperature=2.0, spans=1,
        neighbours=0, span_weight=0.5, contrastive=0.0, feedback=feedback,
        distillation=Distillation(loss="ranknet", weight=1.0, over="batch", teachers=(Teacher(kind="labels"),)),
    )  # fmt: skip
    sparsity = SparsityConfig(weight=0.0, warmup=0.0, columns=50)
    encoder = TextEncoder.open(model).encoder
    idf, special = model.lexicon.idf, SpecialTokens.of(tokenizer)
    return RankingStage(encoder, config, sparsity, records, idf, special, 1, teachers=[LabelsTeacher(records)])


def enriched(stage: RankingStage, step: int) -> Iterator[tuple[str, str, np.ndarray]]:
    """(query id, document language, (V,) query weights) of the judged queries of a step."""
    batch = stage.batches.at(step, np.random.default_rng([*stage.seed, 1, step]))
    for query, more in zip(batch.queries, stage._joined(step, batch), strict=True):
        vector = np.zeros(len(stage.idf))
        vector[query.ids] = stage.idf[query.ids]
        np.add.at(vector, more.ids, more.weights)
        if query.text is None:
            assert not len(more.ids), "a span has no feedback"
        else:
            yield query.text.id, batch.columns[query.target].document.lang, vector


def test_the_query_of_training_is_the_served_one(stage: RankingStage, trained_from: Model, dataset: Dataset) -> None:
    """Scores with the enriched query against a search with feedback over the stored vectors of the same documents."""
    texts = dict(dataset.queries.select("id", "text").collect().rows())
    known = sorted((d.id, d.lang) for record in stage.records.records for d in record.documents)
    written = dict(dataset.documents.select("id", "text").collect().rows())
    weights = np.zeros((len(known), len(stage.idf)), np.float32)
    for rows, part in TextEncoder.open(trained_from).batches([written[name] for name, _ in known]):
        weights[rows] = part[:, : len(stage.idf)]
    of_document, tokens = np.nonzero(weights)
    ids, langs = (tuple(column) for column in zip(*known, strict=True))
    stored = StoredVectors(ids, np.array(langs), of_document, tokens, weights[of_document, tokens])
    served = SimulatedIndex(
        stored, QueryEncoder(load_tokenizer(trained_from.path / "tokenizer.json"), trained_from.lexicon)
    )
    setting, compared = Setting(feedback=Feedback(CHOICE.documents, CHOICE.tokens, CHOICE.share)), 0
    stage.encoder.train()
    for name, lang, vector in enriched(stage, 0):
        scores = served._scores(_Query(np.flatnonzero(vector), vector[vector > 0]), np.array(langs) == lang)
        assert vector.sum() == pytest.approx(1.5 * float(stage.idf[served.encoder.ids(texts[name])].sum()), rel=1e-5)
        for document, score in served.ranking(texts[name], setting, lang, 5).items():
            assert scores[ids.index(document)] == pytest.approx(score, rel=1e-5)
            compared += 1
    assert compared > 20 and stage.encoder.training


def test_the_loss_is_ranknet_over_the_enriched_queries(stage: RankingStage) -> None:
    """Pair by pair in plain Python, from dense vectors of all columns."""
    loss = stage.backward(0).parts["distillation"]
    batch = stage.batches.at(0, np.random.default_rng([*stage.seed, 1, 0]))
    with torch.no_grad():
        documents = stage._encode([column.ids for column in batch.columns], np.arange(len(stage.idf))).numpy()
    order = LabelsTeacher(stage.records).scores(batch, slice(None))
    assert stage.feedback is not None
    allowed, joined = batch.candidates(), stage.feedback.of(batch)
    total = share = 0.0
    for row, query in enumerate(batch.queries):
        vector = np.zeros(len(stage.idf))
        vector[query.ids] = stage.idf[query.ids]
        np.add.at(vector, joined[row].ids, joined[row].weights)
        scores, columns = documents @ vector, np.flatnonzero(allowed[row])
        pairs = [(i, j) for i in columns for j in columns if order[row, i] > order[row, j]]
        terms = [math.log1p(math.exp(scores[j] - scores[i])) for i, j in pairs]
        if terms:
            total, share = total + query.weight * sum(terms) / len(terms), share + query.weight
    assert any(len(more.ids) for more in joined) and loss == pytest.approx(total / share, rel=1e-4)
    gradient = stage.encoder.decoder.bias.grad
    assert gradient is not None and gradient.abs().sum() > 0


def test_feedback_is_refreshed_when_due_and_kept_in_a_checkpoint(
    stage: RankingStage, trained_from: Model, dataset: Dataset
) -> None:
    for step in range(2):
        stage.backward(step)
    state, resumed = stage.state_dict(), make_stage(trained_from, dataset, CHOICE)
    with torch.no_grad():
        for each in (stage, resumed):  # the weights move on after the refresh at step 0
            each.encoder.decoder.bias.add_(torch.linspace(-1, 1, len(each.encoder.decoder.bias)))
    resumed.load_state_dict(state)
    assert stage.feedback is not None
    for step, same in ((2, True), (3, False)):
        assert resumed.backward(step).parts == stage.backward(step).parts
        assert torch.equal(stage.feedback.weights, state["feedback_weights"]) == same


def test_feedback_without_an_order_is_refused() -> None:
    stage = {
        "steps": 1, "batch": 2, "lr": 1e-3, "schedule": "linear", "warmup": 0, "max_length": 8, "temperature": 1,
        "spans": 0, "neighbours": 0, "span_weight": 1, "feedback": {"refresh": 5},
    }  # fmt: skip
    _, problems = checked(Ranking, stage)
    assert problems == [
        "feedback: there is no order to learn; give distillation with a teacher, of kind labels where the dataset has "
        "no scores"
    ]
