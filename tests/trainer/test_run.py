"""Whole runs on the tests' small world: equal seeds, interruption, bad input, what is written."""

from __future__ import annotations

import dataclasses
import itertools
import json
import logging
import signal
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import torch
import world
from safetensors.torch import load_file, save_file
from small_run import ONE_STEP

import osparse.trainer.training as training
from osparse.contracts.dataset import Dataset, save_dataset
from osparse.contracts.model import Model
from osparse.encoders.torch_encoder import TextEncoder
from osparse.errors import CheckError, ConfigError, DatasetError, InputError
from osparse.io.settings import read_settings
from osparse.trainer import TrainConfig, plan, run_folder, train
from osparse.trainer.loop.checkpoint import RunState, read_checkpoint, restore, save_checkpoint
from osparse.trainer.report.run_log import RunLog, read_log, sole_process


def signal_at(number: int, name: signal.Signals = signal.SIGTERM) -> Callable[[str, int], None]:
    """An ``on_step`` that raises a signal in the process during its ``number``-th call."""
    calls = itertools.count(1)

    def on_step(task: str, step: int) -> None:
        if next(calls) == number:
            signal.raise_signal(name)

    return on_step


def weights(model: Model) -> dict[str, torch.Tensor]:
    return load_file(model.path / "model.safetensors")


def same(a: Model, b: Model) -> bool:
    return all(torch.equal(tensor, weights(b)[name]) for name, tensor in weights(a).items())


def test_the_model_is_whole_and_encodes(trained: Model, dataset: Dataset) -> None:
    assert trained.metrics["split"] == "validation" and trained.metrics["stage"] == "ranking"
    assert trained.training["dataset"] == dataset.fingerprint and trained.training["steps"] == 12
    assert "provenance" in trained.idf
    vectors = TextEncoder.open(trained).encode([r[2] for r in world.RECORDS] + world.ODD_TEXTS)
    special = {trained.lexicon.tokens[i] for i in trained.lexicon.special_ids}
    assert all(len(vector) <= 30 for vector in vectors) and any(vectors)
    assert all(weight > 0 for vector in vectors for weight in vector.values())
    assert not any(special & set(vector) for vector in vectors)
    assert "nDCG@10" in (trained.path / "README.md").read_text(encoding="utf-8")


def test_the_log_has_every_stage(trained: Model) -> None:
    rows = read_log(run_folder(trained.path))
    assert {row["stage"] for row in rows if row["kind"] == "step"} == {"mlm", "ranking"}
    assert [row["step"] for row in rows if row["kind"] == "validation" and row["stage"] == "ranking"] == [3, 6, 7]
    assert rows[-1]["kind"] == "end"
    best = max(row["ndcg"] for row in rows if row["kind"] == "validation" and row["stage"] == "ranking")
    assert trained.metrics["ndcg"] == best


def test_equal_seeds_give_equal_weights(trained: Model, yaml: Path, dataset: Dataset, tmp_path: Path) -> None:
    assert same(trained, train(yaml, dataset, tmp_path / "again"))
    assert not same(trained, train(yaml, dataset, tmp_path / "other", overrides=["seed=4"]))


@pytest.mark.parametrize("at", [1, 4, 5, 8, 10, 12])
def test_stopped_and_resumed_equals_uninterrupted(
    at: int, trained: Model, yaml: Path, dataset: Dataset, tmp_path: Path
) -> None:
    """SIGTERM comes during the at-th step, in the middle and at the ends of both stages."""
    with pytest.raises(KeyboardInterrupt):
        train(yaml, dataset, tmp_path / "model", on_step=signal_at(at))
    assert not (tmp_path / "model").exists()
    torch.rand(7)  # the random state of the second sitting is another
    model = train(yaml, dataset, tmp_path / "model", resume=True)
    assert same(trained, model)
    assert model.metrics == trained.metrics
    mine, whole = (read_log(run_folder(m.path)) for m in (model, trained))
    assert [(r["kind"], r.get("part"), r.get("step")) for r in mine] == [
        (r["kind"], r.get("part"), r.get("step")) for r in whole
    ]


def test_a_run_with_a_table_and_a_target_is_resumed_whole(yaml: Path, dataset: Dataset, tmp_path: Path) -> None:
    """Weights, prune ratio and table: the model's fingerprint holds them all."""
    sets = ["head.top_k=null", "head.nonzeros=25", "lexical_table={own: 0.5, translated: 1.0}"]
    whole = train(yaml, dataset, tmp_path / "whole", overrides=sets)
    with pytest.raises(KeyboardInterrupt):
        train(yaml, dataset, tmp_path / "model", overrides=sets, on_step=signal_at(1))
    model = train(yaml, dataset, tmp_path / "model", overrides=sets, resume=True)
    assert model.fingerprint == whole.fingerprint and model.metrics == whole.metrics


def test_made_again_is_up_to_date_and_other_inputs_are_refused(
    trained: Model, yaml: Path, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: str) -> None:
        raise AssertionError("nothing heavy may be imported")

    monkeypatch.setattr("osparse.trainer.run.require", refuse)
    assert train(yaml, dataset, trained.path).fingerprint == trained.fingerprint
    with pytest.raises(InputError, match="`overwrite=True`"):
        train(yaml, dataset, trained.path, overrides=["seed=9"])
    (tmp_path / "notes.txt").write_text("not a model", encoding="utf-8")
    with pytest.raises(InputError, match="`overwrite=True`"):
        train(yaml, dataset, tmp_path)
    assert (tmp_path / "notes.txt").exists()


def test_a_folder_in_use_is_refused_before_any_preparation(
    yaml: Path, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "load_run", lambda *_: pytest.fail("prepared in another's folder"))
    with sole_process(run_folder(tmp_path / "model")), pytest.raises(InputError, match="in use by another"):
        train(yaml, dataset, tmp_path / "model")


def test_inputs_that_preparation_refuses_leave_nothing(yaml: Path, dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fp16 needs a GPU"):
        train(yaml, dataset, tmp_path / "model", overrides=["loop.precision=fp16"])
    assert not list(tmp_path.iterdir())
    (run_folder(tmp_path / "model")).mkdir()
    with pytest.raises(ConfigError, match="fp16 needs a GPU"):
        train(yaml, dataset, tmp_path / "model", overrides=["loop.precision=fp16"])
    assert run_folder(tmp_path / "model").is_dir()


def test_a_run_leaves_the_process_as_it_was(
    yaml: Path, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads and log level, also in a process that logs nothing for itself."""
    monkeypatch.setenv("RANK", "1")
    logger, closed = logging.getLogger("osparse"), []
    monkeypatch.setattr(RunLog, "close", lambda self: closed.append(logger.getEffectiveLevel()))
    before, threads = logger.level, torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        train(yaml, dataset, tmp_path / "model", overrides=[f"stages=[{ONE_STEP}]"])
        assert (logger.level, torch.get_num_threads()) == (before, 2) and closed == [logging.ERROR]
    finally:
        torch.set_num_threads(threads)


def test_a_checkpoint_that_is_missing_or_of_another_run_is_refused(
    yaml: Path, dataset: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="no checkpoint"):
        train(yaml, dataset, tmp_path / "model", resume=True)
    with pytest.raises(KeyboardInterrupt):
        train(yaml, dataset, tmp_path / "model", on_step=signal_at(1, signal.SIGINT))
    with pytest.raises(InputError, match="another configuration"):
        train(yaml, dataset, tmp_path / "model", overrides=["seed=9"], resume=True)


def test_a_loss_that_is_no_number_stops_the_run(yaml: Path, dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(CheckError, match=r"q:.*:(ko|en)"):
        train(yaml, dataset, tmp_path / "model", overrides=["stages.ranking.lr=1", "stages.ranking.temperature=1e-38"])
    assert list((run_folder(tmp_path / "model") / "checkpoint").glob("*/state.json"))
    assert not (tmp_path / "model").exists()


def test_starts_from_a_checkpoint_whose_vocabulary_is_larger(yaml: Path, dataset: Dataset, tmp_path: Path) -> None:
    start = world.make_model(tmp_path / "start", extra_rows=9)
    config = dataclasses.replace(
        read_settings(TrainConfig, yaml),
        encoder=dataclasses.replace(read_settings(TrainConfig, yaml).encoder, start=start.path, layers=0, hidden=0),
    )
    made = train(dataclasses.replace(config, stages=config.stages[1:]), dataset, tmp_path / "model")
    rows = len(made.lexicon.tokens)
    assert set(range(rows, rows + 9)) <= set(made.head.masked_ids)


def test_a_checkpoint_with_a_smaller_vocabulary_is_refused(yaml: Path, dataset: Dataset, tmp_path: Path) -> None:
    from transformers import BertConfig, BertForMaskedLM

    BertForMaskedLM(
        BertConfig(vocab_size=50, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    ).save_pretrained(tmp_path / "small")
    sets = [
        f"encoder={{start: {tmp_path}/small}}",
        "stages=[{task: ranking, steps: 1, batch: 2, lr: 1e-3, schedule: constant, warmup: 0, max_length: 8, temperature: 1, spans: 0, neighbours: 0, span_weight: 0}]",
    ]
    with pytest.raises(ConfigError, match="50 vocabulary rows"):
        train(yaml, dataset, tmp_path / "model", overrides=sets)


def started(folder: Path, *more: str) -> list[str]:
    return [f"encoder={{start: {folder}}}", f"stages=[{ONE_STEP}]", *more]


@pytest.mark.parametrize("form", ["bin", "parts"])
def test_a_start_may_be_what_packaging_takes(form: str, yaml: Path, dataset: Dataset, tmp_path: Path) -> None:
    start = world.make_model(tmp_path / "start").path
    whole = train(yaml, dataset, tmp_path / "whole", overrides=started(start))
    tensors = load_file(start / "model.safetensors")
    (start / "model.safetensors").unlink()
    if form == "bin":
        torch.save(tensors, start / "pytorch_model.bin")
    else:
        part = "model-00001-of-00001.safetensors"
        save_file(tensors, start / part, {"format": "pt"})
        index = {"metadata": {}, "weight_map": dict.fromkeys(tensors, part)}
        (start / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    made = train(yaml, dataset, tmp_path / "made", overrides=started(start))
    assert (made.path / "model.safetensors").read_bytes() == (whole.path / "model.safetensors").read_bytes()


def test_a_start_that_lacks_weights_or_files_is_refused(yaml: Path, dataset: Dataset, tmp_path: Path) -> None:
    start = world.make_model(tmp_path / "start").path
    tensors = load_file(start / "model.safetensors")
    save_file({k: t for k, t in tensors.items() if "layer.1" not in k}, start / "model.safetensors", {"format": "pt"})
    with pytest.raises(ConfigError, match="lacks 16 tensors"):
        train(yaml, dataset, tmp_path / "model", overrides=started(start))
    (start / "model.safetensors").write_text("garbage", encoding="utf-8")
    with pytest.raises(ConfigError, match="cannot be read as a masked-LM"):
        train(yaml, dataset, tmp_path / "model", overrides=started(start))
    (start / "config.json").unlink()
    with pytest.raises(ConfigError, match="has no config.json"):
        train(yaml, dataset, tmp_path / "model", overrides=started(start))


def test_a_start_with_too_few_positions_is_refused_before_training(
    yaml: Path, dataset: Dataset, tmp_path: Path
) -> None:
    from transformers import BertConfig, BertForMaskedLM

    rows = len(world.make_lexicon(yaml.parent / "tokenizer.json").tokens)
    BertForMaskedLM(
        BertConfig(
            vocab_size=rows, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8,
            max_position_embeddings=40,
        )
    ).save_pretrained(tmp_path / "short")  # fmt: skip
    with pytest.raises(ConfigError, match="40 positions, head.max_length is 64"):
        train(yaml, dataset, tmp_path / "model", overrides=started(tmp_path / "short"))
    assert not run_folder(tmp_path / "model").exists()


def test_dropout_beside_a_start_is_refused(yaml: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="sizes and dropout"):
        read_settings(TrainConfig, yaml, [f"encoder={{start: {tmp_path}, dropout: 0.1}}", f"stages=[{ONE_STEP}]"])


def test_a_checkpoint_survives_wrong_inputs_and_its_end_is_said(
    yaml: Path, dataset: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = run_folder(tmp_path / "model") / "checkpoint" / "0000-00000001"
    checkpoint.mkdir(parents=True)
    (checkpoint / "state.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ConfigError):
        train(yaml, dataset, tmp_path / "model", overrides=started(tmp_path))
    with pytest.raises(InputError, match="not a checkpoint of this version"):
        train(yaml, dataset, tmp_path / "model", resume=True)
    no_positives = {split: dataset.qrels(split).collect() for split in ("train", "validation")}
    no_positives["train"] = no_positives["train"].with_columns(score=pl.lit(0.0))
    with pytest.raises(DatasetError):
        train(yaml, other_qrels(dataset, tmp_path / "data", no_positives), tmp_path / "model")
    assert checkpoint.exists()
    train(yaml, dataset, tmp_path / "model", overrides=[f"stages=[{ONE_STEP}]"])
    assert not checkpoint.exists() and "`resume=True`" in caplog.text


def other_qrels(dataset: Dataset, path: Path, qrels: dict[str, pl.DataFrame]) -> Dataset:
    return save_dataset(
        path, documents=dataset.documents.collect(), queries=dataset.queries.collect(), qrels=qrels,
        sources=dataset.manifest.sources, split_rule="", seed=0,
    )  # fmt: skip


def test_distilled_judgements_are_refused(yaml: Path, dataset: Dataset, tmp_path: Path) -> None:
    qrels = {split: dataset.qrels(split).collect() for split in ("train", "validation")}
    qrels["train"] = qrels["train"].with_columns(origin=pl.lit("distilled"))
    with pytest.raises(DatasetError, match="no judgements"):
        train(yaml, other_qrels(dataset, tmp_path / "data", qrels), tmp_path / "model")


def test_a_monolingual_dataset_trains_from_a_checkpoint(yaml: Path, dataset: Dataset, tmp_path: Path) -> None:
    english = pl.col("lang") == "en"
    qrels = {
        split: dataset.qrels(split).collect().filter(
            pl.col("query_id").str.ends_with(":en") & pl.col("document_id").str.ends_with(":en")
        )
        for split in ("train", "validation")
    }  # fmt: skip
    data = save_dataset(
        tmp_path / "data", documents=dataset.documents.collect().filter(english),
        queries=dataset.queries.collect().filter(english), qrels=qrels, sources=dataset.manifest.sources,
        split_rule="", seed=0,
    )  # fmt: skip
    start = world.make_model(tmp_path / "start")
    mlm = (
        "{task: mlm, steps: 2, batch: 2, lr: 1e-3, schedule: linear, warmup: 0, max_length: 32, masked: 0.2, "
        "translated: 0.3, kept: 0.1, active_terms: 60, columns: 0}"
    )
    sets = [f"encoder={{start: {start.path}}}", f"stages=[{mlm}, {ONE_STEP}]"]
    made = train(yaml, data, tmp_path / "model", overrides=sets)
    assert set(made.metrics["directions"]) >= {"en->en"}
    assert "stages.mlm.translated: 0.3 has no effect" in "".join(made.metrics["settled"])
    with pytest.raises(ConfigError, match="translated_queries: 1 asks for translations, .*; set it to auto or 0"):
        train(yaml, data, tmp_path / "other", overrides=[*sets, "stages.ranking.translated_queries=1"])


def test_a_query_that_tokenises_to_nothing_is_left_out_and_said(
    yaml: Path, dataset: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    snow = pl.when(pl.col("id") == "q:pear:ko").then(pl.lit("\u2603")).otherwise(pl.col("text"))  # [UNK] alone
    data = save_dataset(
        tmp_path / "data", documents=dataset.documents.collect(),
        queries=dataset.queries.collect().with_columns(text=snow),
        qrels={split: dataset.qrels(split).collect() for split in ("train", "validation")},
        sources=dataset.manifest.sources, split_rule="", seed=0,
    )  # fmt: skip
    plan(yaml, data, tmp_path / "model")
    assert "1 training queries are left out" in caplog.text


def test_paths_and_checkpoints_are_no_part_of_what_a_model_is(
    trained: Model, yaml: Path, dataset: Dataset, tmp_path: Path
) -> None:
    import shutil

    folder = Path(shutil.copytree(yaml.parent, tmp_path / "elsewhere"))
    sets = [f"tokenizer={folder}", f"idf={folder}/idf.json", "checkpoint_every=5"]
    assert train(yaml, dataset, trained.path, overrides=sets).fingerprint == trained.fingerprint  # up to date
    for name in ("osparse.json", "README.md"):
        assert str(yaml.parent) not in (trained.path / name).read_text(encoding="utf-8")


def test_a_run_that_fails_says_so_in_its_log(yaml: Path, dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(CheckError):
        train(yaml, dataset, tmp_path / "model", overrides=["stages.ranking.lr=1", "stages.ranking.temperature=1e-38"])
    assert read_log(run_folder(tmp_path / "model"))[-1]["kind"] == "stopped"


def test_a_stage_that_cannot_run_leaves_the_checkpoint(yaml: Path, dataset: Dataset, tmp_path: Path) -> None:
    checkpoint = run_folder(tmp_path / "model") / "checkpoint"
    checkpoint.mkdir(parents=True)
    one = {split: dataset.qrels(split).collect() for split in ("train", "validation")}
    one["train"] = one["train"].filter(pl.col("query_id") == one["train"]["query_id"][0])
    with pytest.raises(DatasetError, match="one group"):
        train(yaml, other_qrels(dataset, tmp_path / "data", one), tmp_path / "model")
    no_mask = tmp_path / "no-mask"
    no_mask.mkdir()
    for name in ("tokenizer.json", "idf.json"):
        text = (yaml.parent / name).read_text(encoding="utf-8")
        (no_mask / name).write_text(text.replace("[MASK]", "[BLANK]"), encoding="utf-8")
    with pytest.raises(ConfigError, match="set masked: 0"):
        train(yaml, dataset, tmp_path / "model", overrides=[f"tokenizer={no_mask}", f"idf={no_mask}/idf.json"])
    assert checkpoint.exists()


def test_the_random_state_of_cuda_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    restored = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda: torch.tensor([1, 2], dtype=torch.uint8))
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state: restored.append(state.tolist()))
    model = torch.nn.Linear(2, 2)
    save_checkpoint(tmp_path, RunState("x"), model, None)
    restore(read_checkpoint(tmp_path, "x"), model, None)
    assert restored == [[1, 2]]


def test_a_dataset_without_positives_is_refused(yaml: Path, dataset: Dataset, tmp_path: Path) -> None:
    zero = {split: dataset.qrels(split).collect() for split in ("train", "validation")}
    zero["train"] = zero["train"].with_columns(score=pl.lit(0.0))
    empty = save_dataset(
        tmp_path / "data", documents=dataset.documents.collect(), queries=dataset.queries.collect(), qrels=zero,
        sources=dataset.manifest.sources, split_rule="", seed=0,
    )  # fmt: skip
    with pytest.raises(DatasetError, match="score above 0"):
        train(yaml, empty, tmp_path / "model")
