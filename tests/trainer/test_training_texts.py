"""A model knows what it, its start and its teachers learnt from, and a run tells of held-back texts among it."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from candidates_world import ROWS, remake
from click.testing import CliRunner
from small_run import ONE_STEP

from osparse.cli.main import cli
from osparse.contracts.dataset import Dataset, save_dataset
from osparse.contracts.model import Model
from osparse.contracts.seen import SEEN
from osparse.corpus import score_candidates
from osparse.errors import ModelError
from osparse.evaluation.trained_on import trained_on_split
from osparse.io.settings import read_settings
from osparse.retrieval import evaluate
from osparse.trainer import TrainConfig, train
from osparse.trainer.data.training_texts import texts_of_run

DISTILLED = ONE_STEP[:-1] + (", negatives: 1, distillation: {loss: kl, weight: 1, over: own, teachers: [%s]}}")


def texts_of(dataset: Dataset, split: str) -> tuple[list[str], list[str]]:
    """Documents and queries."""
    documents, queries = dataset.split_documents(split).collect(), dataset.split_queries(split).collect()
    return documents["text"].to_list(), queries["text"].to_list()


def with_test_split_of_train(dataset: Dataset, path: Path, *, queries: bool) -> Dataset:
    """Another dataset whose test judgements are two of this one's training answers, in other letters and ids.

    ``queries``: with the training queries, else with new ones.
    """
    documents = dataset.documents.collect().with_columns(
        pl.concat_str(pl.lit("new:"), "id").alias("id"),
        pl.concat_str(pl.lit(" "), pl.col("text").str.to_uppercase()).alias("text"),
    )
    asked = dataset.queries.collect().with_columns(pl.concat_str(pl.lit("new:"), "id").alias("id"))
    if not queries:
        asked = asked.with_columns(pl.concat_str(pl.lit("about "), "text").alias("text"))
    rows = [(f"new:q:{g}:en", f"new:{g}:en", 1.0, "annotated") for g in ("pear", "bread", "tide", "clay")]
    names = ["query_id", "document_id", "score", "origin"]
    return save_dataset(
        path, documents=documents, queries=asked, qrels={"test": pl.DataFrame(rows, schema=names, orient="row")},
        sources=dataset.manifest.sources, split_rule="tests", seed=0,
    )  # fmt: skip


def test_a_model_knows_its_training_split_and_nothing_held_back(trained: Model, dataset: Dataset) -> None:
    seen = trained.training_texts()
    assert seen is not None and seen.unknown == ()
    for split, expected in (("train", True), ("validation", False), ("test", False)):
        documents, queries = texts_of(dataset, split)
        assert (seen.holds("document", documents) == expected).all() and (
            seen.holds("query", queries) == expected
        ).all()
    assert len(seen) == sum(len(set(texts)) for texts in texts_of(dataset, "train"))


def test_a_leaked_evaluation_is_told_and_measured_without_it(trained: Model, dataset: Dataset, tmp_path: Path) -> None:
    """Two of four answers were trained on, in other letters: the figures without them are those of the other two."""
    leaked = with_test_split_of_train(dataset, tmp_path / "leaked", queries=False)
    report = evaluate(leaked.path, models=[trained], baseline="bm25")
    name = f"model {trained.path.name}"
    assert report.system(name)["trained_on"] == {"answers": 4, "answers_seen": 2, "queries": 4, "queries_seen": 0}
    assert "trained_on" not in report.system("bm25")
    (note,) = [note for note in report.notes if "trained on" in note]
    assert note.startswith(f"{name}: 2 of 4 test answers and 0 of 4 test queries were trained on; the rows")
    rest = [row for row in report.rows if row.not_trained_on]
    assert [row.queries for row in rest] == [2, 2] and rest[1].difference is not None
    only = leaked.qrels("test").filter(pl.col("query_id").str.contains("tide|clay")).collect()
    clean = save_dataset(
        tmp_path / "clean", documents=leaked.documents, queries=leaked.queries, qrels={"test": only},
        sources=leaked.manifest.sources, split_rule="tests", seed=0,
    )  # fmt: skip
    expected = evaluate(clean.path, models=[trained])
    assert expected.rows[0].figures == rest[1].figures and not any("trained on" in note for note in expected.notes)
    assert "not trained on" in str(report) and "trained on none of the answers and queries" in str(expected)


def test_queries_that_were_trained_on_count_too(trained: Model, dataset: Dataset, tmp_path: Path) -> None:
    leaked = with_test_split_of_train(dataset, tmp_path / "leaked", queries=True)
    (system,) = evaluate(leaked.path, models=[trained]).systems
    assert (system["trained_on"]["answers_seen"], system["trained_on"]["queries_seen"]) == (2, 2)


def test_a_model_without_the_list_says_so(model: Model, dataset: Dataset) -> None:
    report = evaluate(dataset.path, models=[model])
    assert report.systems[0]["trained_on"] == {"known": False} and "what it was trained on is not known" in str(report)
    assert not any(row.not_trained_on for row in report.rows)


def test_fine_tuning_unites_the_start_and_names_what_is_not_known(
    trained: Model, model: Model, yaml: Path, dataset: Dataset, tmp_path: Path
) -> None:
    """The start was trained on the other dataset's test split; its weights bring that along."""
    other = with_test_split_of_train(dataset, tmp_path / "other", queries=True)
    config = read_settings(TrainConfig, yaml, [f"encoder={{start: {trained.path}}}", f"stages=[{ONE_STEP}]"])
    seen = texts_of_run(config, dataset)
    assert trained_on_split(other, "test", seen).answers_seen == 2 and seen.unknown == ()
    unknown = texts_of_run(replace(config, encoder=replace(config.encoder, start=model.path)), dataset)
    assert unknown.unknown == (f"start {model.path.name}",)


def test_teachers_bring_what_they_learnt(
    trained: Model, model: Model, yaml: Path, dataset: Dataset, tmp_path: Path
) -> None:
    with_rows = remake(dataset, tmp_path / "rows", ROWS)
    held_back = texts_of(dataset, "test")[0]

    def run_with(teacher: str, source: Dataset) -> tuple[bool, tuple[str, ...]]:
        stage = DISTILLED % teacher
        seen = texts_of_run(read_settings(TrainConfig, yaml, [f"stages=[{stage}]"]), source)
        return bool(seen.holds("document", held_back).all()), seen.unknown

    knowing = train(
        yaml, remake_swapped(dataset, tmp_path / "swapped"), tmp_path / "knowing", overrides=[f"stages=[{ONE_STEP}]"]
    )
    assert run_with(f"{{kind: sparse, path: {trained.path}}}", with_rows) == (False, ())
    assert run_with(f"{{kind: sparse, path: {knowing.path}}}", with_rows) == (True, ())
    assert run_with(f"{{kind: sparse, path: {model.path}}}", with_rows) == (False, (f"teacher {model.path.name}",))
    assert run_with("{kind: dataset}", with_rows) == (False, ("teacher teacher",))
    scored, _ = score_candidates(with_rows, tmp_path / "scored", knowing.path)
    assert run_with("{kind: dataset, scorer: knowing}", scored) == (True, ())
    again, _ = score_candidates(scored, tmp_path / "again", trained.path, name="second")
    assert run_with("{kind: dataset, scorer: knowing}", again) == (True, ()), "a derived dataset keeps the list"
    assert again.fingerprint != scored.fingerprint


def remake_swapped(dataset: Dataset, path: Path) -> Dataset:
    """What was for testing is for training, and the other way round."""
    return save_dataset(
        path, documents=dataset.documents, queries=dataset.queries, sources=dataset.manifest.sources,
        qrels={"train": dataset.qrels("test"), "validation": dataset.qrels("validation"), "test": dataset.qrels("train")},
        split_rule="tests", seed=0,
    )  # fmt: skip


def test_a_run_tells_of_held_back_answers_that_its_start_learnt(
    trained: Model, yaml: Path, dataset: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Fine-tuning on new pairs with old answers in the test and validation splits."""
    swapped = remake_swapped(dataset, tmp_path / "swapped")
    qrels = {s: swapped.qrels(s).collect() for s in swapped.splits}
    moved = qrels["test"].filter(pl.col("query_id").str.contains("pear"))
    qrels |= {
        "test": qrels["test"].filter(~pl.col("query_id").str.contains("pear")),
        "validation": pl.concat([qrels["validation"], moved]),
    }
    mixed = save_dataset(
        tmp_path / "mixed", documents=dataset.documents, queries=dataset.queries, qrels=qrels,
        sources=dataset.manifest.sources, split_rule="tests", seed=0,
    )  # fmt: skip
    overrides = [f"encoder={{start: {trained.path}}}", f"stages=[{ONE_STEP}]"]
    with caplog.at_level(logging.WARNING):
        tuned = train(yaml, mixed, tmp_path / "tuned", overrides=overrides)
    assert "8 of 8 test answers and 8 of 8 test queries were trained on" in caplog.text
    assert tuned.metrics["seen"]["validation"] == {"answers": 4, "answers_seen": 2, "queries": 4, "queries_seen": 2}
    assert {"ko->en", "ko->en, not trained on"} <= tuned.metrics["directions"].keys()
    card = (tuned.path / "README.md").read_text(encoding="utf-8")
    assert "8 of 8 test answers" in card and "| ko->en, not trained on |" in card
    arguments = ["train", str(yaml), "--dataset", str(mixed.path), "--output", str(tmp_path / "tuned"), "--quiet"]
    shown = CliRunner().invoke(cli, [*arguments, *(part for o in overrides for part in ("--set", o))])
    assert "warning: 8 of 8 test answers" in shown.output and shown.exit_code == 0, shown.output


def test_a_list_that_was_changed_is_refused(trained: Model, tmp_path: Path) -> None:
    import shutil

    folder = Path(shutil.copytree(trained.path, tmp_path / "copy"))
    (folder / SEEN).write_bytes((folder / SEEN).read_bytes() + b"12345678")
    with pytest.raises(ModelError, match="was changed"):
        Model.open(folder).training_texts()
