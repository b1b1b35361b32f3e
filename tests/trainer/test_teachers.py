"""Each teacher against the same scores computed another way."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import small_run
import torch
from candidates_world import ROWS, make, remake

from osparse.contracts.dataset import Dataset
from osparse.contracts.model import Model
from osparse.encoders.dense_encoder import DenseEncoder, pooled
from osparse.encoders.torch_encoder import TextEncoder
from osparse.errors import ConfigError, DatasetError, ModelError
from osparse.formula.lexicon import load_tokenizer
from osparse.formula.query_encoder import QueryEncoder
from osparse.io.settings import read_settings
from osparse.trainer.config.inputs import read_inputs
from osparse.trainer.config.run_config import Distillation, Ranking, Teacher, TrainConfig
from osparse.trainer.data.batch import Batch
from osparse.trainer.data.candidates import with_candidates
from osparse.trainer.data.record_reader import read_records
from osparse.trainer.data.training_records import TrainingRecords
from osparse.trainer.stages.teachers import DatasetTeacher, make_scorer

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def scored(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return remake(dataset, tmp_path_factory.mktemp("teachers") / "dataset", ROWS)


@pytest.fixture(scope="module")
def records(scored: Dataset, model: Model) -> TrainingRecords:
    tokenizer = model.path / "tokenizer.json"
    return with_candidates(read_records(scored, tokenizer, model.lexicon), scored, tokenizer, model.lexicon)


@pytest.fixture(scope="module")
def batch(records: TrainingRecords) -> Batch:
    return make(records, negatives=2)


def test_scores_of_the_dataset(scored: Dataset, records: TrainingRecords, batch: Batch) -> None:
    several: list[set[str]] = [set(), {"one", "other"}]
    for teachers in several:  # a retriever's scores of what it found are no teacher's
        changed = {name: replace(found, teachers=teachers) for name, found in records.candidates.items()}
        with pytest.raises(DatasetError, match="a scorer must be named.*bm25, teacher"):
            make_scorer(Teacher(kind="dataset"), scored, replace(records, candidates=changed), CPU)
    assert isinstance(only := make_scorer(Teacher(kind="dataset"), scored, records, CPU), DatasetTeacher)
    assert only.scores_of("q:pear:en") == {"rain:en": 3.0, "pear:en": 9.0} and not only.scores_of("q:pear:ko")
    with pytest.raises(DatasetError, match="no scores of 'other'"):
        make_scorer(Teacher(kind="dataset", scorer="other"), scored, records, CPU)
    found = make_scorer(Teacher(kind="dataset", scorer="teacher"), scored, records, CPU).scores(batch, slice(None))
    for row, query in enumerate(batch.query_ids):
        for column, document in enumerate(batch.documents):
            wanted = {"rain:en": 3.0, "pear:en": 9.0}.get(document.id) if query == "q:pear:en" else None
            assert found[row, column] == wanted if wanted else math.isnan(found[row, column])


def test_bm25_is_the_formula(scored: Dataset, records: TrainingRecords, batch: Batch) -> None:
    found = make_scorer(Teacher(kind="bm25"), scored, records, CPU).scores(batch, slice(2, 5))
    corpus = [d for record in records.records for d in record.documents]
    for column, document in enumerate(batch.documents[2:5]):
        here = [d.ids.tolist() for d in corpus if d.lang == document.lang]
        mean = sum(map(len, here)) / len(here)
        for row, query in enumerate(batch.queries):
            name = batch.query_ids[row]
            if name is None or not name.endswith(document.lang):
                assert math.isnan(found[row, column])
                continue
            wanted = 0.0
            for token in query.ids.tolist():
                held, tf = sum(token in ids for ids in here), document.ids.tolist().count(token)
                idf = math.log(1 + (len(here) - held + 0.5) / (held + 0.5))
                wanted += idf * tf * 2.2 / (tf + 1.2 * (0.25 + 0.75 * len(document.ids) / mean))
            assert found[row, column] == pytest.approx(wanted, rel=1e-5)


def test_labels_put_relevant_documents_first_and_then_follow_bm25(
    scored: Dataset, records: TrainingRecords, batch: Batch
) -> None:
    """By pairs: a document beats another if it alone is relevant, or if they are alike in that and BM25 says so."""
    found, words = (
        make_scorer(Teacher(kind=kind), scored, records, CPU).scores(batch, slice(1, 6)) for kind in ("labels", "bm25")
    )
    documents, orders = batch.documents[1:6], 0
    for row, query in enumerate(batch.queries):
        keys = [
            (d.id in query.relevant, 0.0 if math.isnan(s) else s) for d, s in zip(documents, words[row], strict=True)
        ]
        for i in range(len(keys)):
            for j in range(len(keys)):
                assert (found[row, i] > found[row, j]) == (keys[i] > keys[j])
                orders += keys[i] > keys[j]
    assert orders and not np.isnan(found).any()


def test_a_sparse_teacher_scores_as_the_served_model(
    scored: Dataset, records: TrainingRecords, batch: Batch, model: Model
) -> None:
    teacher = make_scorer(Teacher(kind="sparse", path=model.path), scored, records, CPU)
    found = teacher.scores(batch, slice(None))
    assert np.array_equal(found, teacher.scores(batch, slice(None)), equal_nan=True)  # from memory
    texts = dict(scored.documents.select("id", "text").collect().rows())
    asked = dict(scored.queries.select("id", "text").collect().rows())
    vectors = TextEncoder.open(model).encode([texts[d.id] for d in batch.documents])
    queries = QueryEncoder(load_tokenizer(model.path / "tokenizer.json"), model.lexicon)
    for row, name in enumerate(batch.query_ids):
        if name is None:
            assert np.isnan(found[row]).all()
            continue
        weights = {model.lexicon.tokens[i]: float(model.lexicon.idf[i]) for i in queries.ids(asked[name])}
        wanted = [sum(w * vector.get(t, 0.0) for t, w in weights.items()) for vector in vectors]
        assert found[row] == pytest.approx(np.array(wanted), rel=1e-4, abs=1e-5)


@pytest.fixture(scope="module")
def dense(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import AutoTokenizer, BertConfig, BertModel

    path = tmp_path_factory.mktemp("dense") / "encoder"
    torch.manual_seed(3)
    BertModel(
        BertConfig(
            vocab_size=len(model.lexicon.tokens),
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
        )
    ).save_pretrained(path)
    AutoTokenizer.from_pretrained(model.path).save_pretrained(path)
    return path


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_dense_teacher_is_its_pooled_states(
    scored: Dataset, records: TrainingRecords, batch: Batch, dense: Path, pooling: str
) -> None:
    from transformers import AutoModel, AutoTokenizer

    (dense / "1_Pooling").mkdir(exist_ok=True)
    key = {"cls": "pooling_mode_cls_token", "mean": "pooling_mode_mean_tokens"}[pooling]
    (dense / "1_Pooling" / "config.json").write_text(f'{{"{key}": true}}')
    found = make_scorer(Teacher(kind="dense", path=dense), scored, records, CPU).scores(batch, slice(1, 4))
    texts = dict(scored.documents.select("id", "text").collect().rows())
    asked = dict(scored.queries.select("id", "text").collect().rows())
    encoder, tokenizer = AutoModel.from_pretrained(dense).eval(), AutoTokenizer.from_pretrained(dense)

    def embed(text: str) -> np.ndarray:
        with torch.inference_mode():
            states = encoder(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        return np.asarray(states.mean(0) if pooling == "mean" else states[0])

    for row, name in enumerate(batch.query_ids):
        if name is not None:
            wanted = [float(embed(texts[d.id]) @ embed(asked[name])) for d in batch.documents[1:4]]
            assert found[row] == pytest.approx(np.array(wanted), rel=5e-3)  # remembered in fp16


def test_a_dense_teacher_is_normalised_as_its_modules_say(dense: Path, tmp_path: Path) -> None:
    """The folder of a Normalize module is empty, and what comes from a hub does not have it."""
    copy = Path(shutil.copytree(dense, tmp_path / "copy"))
    texts = ["the moon", "배나무"]
    plain = DenseEncoder(copy).encode(texts)
    kinds = ("Transformer", "Pooling", "Normalize")
    modules = [{"path": f"{i}_{kind}", "type": f"sentence_transformers.models.{kind}"} for i, kind in enumerate(kinds)]
    (copy / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    found = DenseEncoder(copy).encode(texts)
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(2))
    assert found == pytest.approx(plain / np.linalg.norm(plain, axis=1, keepdims=True), abs=1e-6)


def test_a_run_is_named_by_all_that_makes_a_teacher_s_scores(scored: Dataset, model: Model, tmp_path: Path) -> None:
    teacher = Path(shutil.copytree(model.path, tmp_path / "teacher"))
    yaml = small_run.write_inputs(tmp_path / "inputs")
    config = read_settings(TrainConfig, yaml, [])
    ranking = config.stages[-1]
    assert isinstance(ranking, Ranking)
    taught = Distillation(loss="kl", weight=1.0, over="batch", teachers=(Teacher(kind="sparse", path=teacher),))
    config = replace(config, stages=(replace(ranking, distillation=taught),))
    before = read_inputs(config, scored).name
    assert read_inputs(config, scored).name == before
    (teacher / "idf.json").write_text((teacher / "idf.json").read_text(encoding="utf-8") + " ", encoding="utf-8")
    assert read_inputs(config, scored).name != before


def test_padding_does_not_count_in_the_mean() -> None:
    states = torch.tensor([[[1.0], [3.0], [99.0]]])
    assert pooled(states, torch.tensor([[1, 1, 0]]), "mean").tolist() == [[2.0]]


def test_a_folder_that_is_no_teacher_is_named(scored: Dataset, records: TrainingRecords, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a folder; path of a dense teacher"):
        make_scorer(Teacher(kind="dense", path=tmp_path / "none"), scored, records, CPU)
    with pytest.raises(ModelError, match="no Hugging Face encoder"):
        make_scorer(Teacher(kind="dense", path=tmp_path), scored, records, CPU)
