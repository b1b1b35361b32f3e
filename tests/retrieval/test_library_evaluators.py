"""sentence-transformers' evaluators and mteb run a model and a bundle, and measure what ``osparse evaluate`` measures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from osparse.contracts.bundle import Bundle
from osparse.contracts.dataset import Dataset
from osparse.contracts.model import Model
from osparse.errors import ModelError
from osparse.evaluation.encoder_pair import encoder_pair
from osparse.evaluation.measures import Benchmark, JudgedSet, open_benchmark
from osparse.integrations import sentence_transformers
from osparse.retrieval import evaluate

if TYPE_CHECKING:
    from sentence_transformers import SparseEncoder

pytest.importorskip("sentence_transformers")
DIRECTIONS = ("en->en", "ko->en")


@pytest.fixture(params=["model", "bundle"], scope="module")
def source(request: pytest.FixtureRequest) -> Model | Bundle:
    opened: Model | Bundle = request.getfixturevalue(request.param)
    return opened


@pytest.fixture(scope="module")
def encoder(source: Model | Bundle) -> SparseEncoder:
    return sentence_transformers.sparse_encoder(source.path)


@pytest.fixture(scope="module")
def data(dataset: Dataset) -> Benchmark:
    return open_benchmark(dataset.path, "train")


def own_figures(source: Model | Bundle, data: Benchmark) -> dict[str, float]:
    """Direction -> nDCG@10 of ``osparse evaluate``."""
    models, bundles = ([source], []) if isinstance(source, Model) else ([], [source])
    report = evaluate(data, measures=["nDCG@10"], models=models, bundles=bundles)
    return {row.direction: row.figures["nDCG@10"] for row in report.rows if row.whole}


def texts_of(data: Benchmark, judged: JudgedSet) -> dict[str, str]:
    texts = {name: text for batch in data.texts() for name, text, _ in batch}
    return {name: texts[name] for name in judged.document_ids}


def test_the_weights_are_those_that_evaluate_ranks_by(
    source: Model | Bundle, encoder: SparseEncoder, tmp_path: Path
) -> None:
    texts = ["Clay is fired in a kiln.", "달의 인력", ""]
    documents, queries = encoder_pair(source)
    system_weights = np.zeros((3, len(queries.lexicon.tokens)), np.float32)
    for rows, weights in documents.batches(texts):
        system_weights[rows] = weights[:, : system_weights.shape[1]]
    exact = sentence_transformers.sparse_encoder(source, quantised=False).encode_document(texts).to_dense().numpy()
    np.testing.assert_allclose(exact, system_weights, atol=1e-5)
    stored = encoder.encode_document(texts).to_dense().numpy()
    assert np.all(stored <= exact) and np.all(stored >= exact * (1 - 2**-8)) and np.any(stored < exact)
    asked = encoder.encode_query(texts).to_dense().numpy()
    for text, row in zip(texts, asked, strict=True):
        assert {queries.lexicon.tokens[i]: row[i] for i in np.flatnonzero(row)} == pytest.approx(queries.encode(text))
    with pytest.raises(ModelError, match="copy the model directory or the bundle"):
        encoder.save(str(tmp_path), create_model_card=False)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
def test_the_evaluator_of_sentence_transformers_measures_the_same(
    source: Model | Bundle, encoder: SparseEncoder, data: Benchmark
) -> None:
    from sentence_transformers.sparse_encoder.evaluation import SparseInformationRetrievalEvaluator

    own = own_figures(source, data)
    for judged in (judged for judged in data.sets if judged.direction in DIRECTIONS):
        evaluator = SparseInformationRetrievalEvaluator(
            judged.queries, texts_of(data, judged), {query: set(ids) for query, ids in judged.qrels.items()}
        )
        assert evaluator(encoder)["dot_ndcg@10"] == pytest.approx(own[judged.direction])
    assert 0 < min(own[direction] for direction in DIRECTIONS) < 1


def mteb_task(judged: JudgedSet, texts: dict[str, str]) -> Any:
    """A retrieval task made in code, in the form of mteb 2: data of a subset's split, and required metadata."""
    Table, tasks = pytest.importorskip("datasets").Dataset, pytest.importorskip("mteb.abstasks")
    facts = {
        "name": "OsparseWorld", "description": "Made for a test.", "reference": None, "type": "Retrieval",
        "dataset": {"path": "NA", "revision": "NA"}, "category": "t2t", "eval_splits": ["train"],
        "eval_langs": ["eng-Latn"], "main_score": "ndcg_at_10", "date": None, "dialect": [], "domains": [],
        "task_subtypes": [], "license": None, "annotations_creators": None, "modalities": ["text"],
        "sample_creation": None, "bibtex_citation": "",
    }  # fmt: skip

    class Task(tasks.AbsTaskRetrieval):  # type: ignore[misc, name-defined]
        metadata = tasks.task_metadata.TaskMetadata(**facts)

        def load_data(self, **_: Any) -> None:
            rows = [{"id": name, "text": text, "title": ""} for name, text in texts.items()]
            queries = [{"id": name, "text": text} for name, text in judged.queries.items()]
            split = {
                "corpus": Table.from_list(rows), "queries": Table.from_list(queries), "relevant_docs": judged.qrels,
                "top_ranked": None,
            }  # fmt: skip
            self.dataset, self.data_loaded = {"default": {"train": split}}, True

    return Task()


@pytest.mark.filterwarnings("ignore")
def test_mteb_measures_the_same(
    source: Model | Bundle, encoder: SparseEncoder, data: Benchmark, tmp_path: Path
) -> None:
    mteb = pytest.importorskip("mteb")
    (judged,) = (judged for judged in data.sets if judged.direction == "en->en")
    result = mteb.evaluate(encoder, mteb_task(judged, texts_of(data, judged)), cache=None)
    (scores,) = result.task_results[0].scores["train"]
    assert result.model_name == f"osparse/{source.path.name}" and result.model_revision == source.fingerprint
    assert scores["ndcg_at_10"] == pytest.approx(own_figures(source, data)["en->en"], abs=1e-5)
