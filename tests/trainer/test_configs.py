"""Every packaged configuration works by its name as it stands, and its hints can be pasted."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import click
import polars as pl
import pytest
import small_run
import torch
from candidates_world import remake
from click.testing import CliRunner

from osparse.cli.main import cli
from osparse.contracts.dataset import Dataset
from osparse.contracts.model import Model
from osparse.errors import ConfigError
from osparse.io.settings import read_settings
from osparse.trainer import TrainConfig, train
from osparse.trainer.config.named_config import config_file, packaged_configs
from osparse.trainer.config.run_config import Ranking, WarmStart

NAMES = sorted(packaged_configs())
PATHS = ["tokenizer=tokenizer", "idf=idf.json", "encoder.start=start"]


def needs_start(name: str) -> bool:
    return "start: null" in config_file(name).read_text(encoding="utf-8")


def paths_of(name: str) -> list[str]:
    return PATHS if needs_start(name) else PATHS[:2]


def test_the_kinds_of_training_that_people_begin_with_are_there() -> None:
    assert {"quickstart", "pairs_cpu", "pairs_gpu", "mlm_then_ranking", "own_encoder", "distillation"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_config_reads_and_says_in_a_line_what_it_is_for(name: str) -> None:
    assert read_settings(TrainConfig, config_file(name), paths_of(name)).stages
    about = packaged_configs()[name]
    assert about.endswith(".") and 30 < len(about) <= 110


@pytest.fixture(scope="module")
def scored(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """With hard negatives and one teacher's scores of every query's candidates."""
    rows: list[tuple[object, ...]] = []
    trained = dataset.qrels("train").collect()
    documents = sorted(set(trained["document_id"]))
    for number, query in enumerate(sorted(set(trained["query_id"]))):
        positives = set(trained.filter(pl.col("query_id") == query)["document_id"])
        for place, document in enumerate(documents):
            label = None if document in positives else 0.0
            rows.append((query, document, label, float((number + place) % 7), "distilled", "teacher"))
    return remake(dataset, tmp_path_factory.mktemp("configs") / "dataset", rows)


@pytest.mark.parametrize("name", NAMES)
def test_a_config_works_as_it_stands(
    name: str, scored: Dataset, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dry run with a dataset alone, or a dataset and a start; only the teachers' folders must be named.

    What torch.compile traces runs as it is: a C++ compiler takes ten seconds for the sum of eight numbers.
    """
    traced = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda function, **options: traced(function, **{**options, "backend": "eager"})
    )
    arguments = ["train", name, "--dataset", str(scored.path), "--output", str(tmp_path / "model"), "--dry-run"]
    for number in range(2 if name == "kd_ensemble" else 0):
        arguments += ["--set", f"stages.ranking.distillation.teachers.{number}.path={model.path}"]
    if needs_start(name):  # the tests' checkpoint has 64 positions, and no GPU
        arguments += ["--start", str(model.path), "--set", "head.max_length=64", "--set", "loop.precision=fp32"]
        for stage in read_settings(TrainConfig, config_file(name), PATHS).stages:
            arguments += ["--set", f"stages.{stage.task}.max_length=64"]
    shown = CliRunner().invoke(cli, arguments)
    assert shown.exit_code == 0, shown.output
    assert "stages:" in shown.output and not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_the_hints_in_a_config_can_be_pasted(name: str) -> None:
    """Each command is one line that the command line can parse, and each --set in a hint fits the configuration."""
    text = config_file(name).read_text(encoding="utf-8")
    lines = re.findall(r"^#   (.*)$", text, re.MULTILINE)
    assert lines and not any(line.endswith("\\") for line in lines)
    commands = [shlex.split(line) for line in lines if "osparse " in line]
    assert commands or name == "quality"
    for words in commands:
        made: click.Command | None = cli
        rest = words[words.index("osparse") + 1 :]
        while isinstance(made, click.Group):
            made = made.get_command(click.Context(made), rest[0])
            rest = rest[1:]
        assert made is not None
        context = made.make_context("osparse", rest)
        if made.name == "train":
            assert context.params["config"] in NAMES
    changes = re.findall(r"--set ([\w.]+=[^\s`,]*)", text)
    for change in changes:
        hint = [changes[changes.index(change) + 1]] if "distillation=" == change[-13:] else []
        read_settings(TrainConfig, config_file(name), [*paths_of(name), change, *hint])


def test_a_missing_start_and_a_wrong_key_are_told_together(dataset: Dataset, tmp_path: Path) -> None:
    arguments = ["train", "pairs_cpu", "--dataset", str(dataset.path), "--output", str(tmp_path / "model")]
    shown = CliRunner().invoke(cli, [*arguments, "--set", "sed=2"], standalone_mode=False)
    assert isinstance(shown.exception, ConfigError) and not list(tmp_path.iterdir())
    assert "sed: unknown" in str(shown.exception) and "(--start)" in str(shown.exception)
    with pytest.raises(ConfigError) as caught:
        train("pairs_cpu", dataset, tmp_path / "model")
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["encoder.start, factory or sizes"]


def test_problems_of_different_inputs_are_told_at_once(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        train("pairs_cpu", tmp_path / "nothing", tmp_path / "model", overrides=["sed=2"])
    told = str(caught.value)
    assert "sed: unknown" in told and "start" in told and "is not a dataset" in told
    with pytest.raises(ConfigError) as caught:
        train(
            "pairs_cpu", dataset, tmp_path / "model", start=tmp_path / "no_start", tokenizer=tmp_path / "no_tokenizer",
            idf=tmp_path / "no.json", overrides=["stages.ranking.loss=no_module:loss"],
        )  # fmt: skip
    told = str(caught.value)
    assert all(name in told for name in ("no_start", "no_tokenizer", "no_module")), told


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="quikstart.*\n.*pairs_cpu"):
        config_file("quikstart")
    with pytest.raises(ConfigError, match="did you mean the packaged configuration quickstart"):
        config_file("no/quickstart.yaml")


def test_a_file_comes_before_a_packaged_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quickstart").mkdir()  # a folder of that name, such as the dataset's
    assert config_file("quickstart").name == "quickstart.yaml"
    (tmp_path / "quickstart").rmdir()
    (tmp_path / "quickstart").write_text("seed: 1", encoding="utf-8")
    assert config_file("quickstart") == Path("quickstart")


def test_configs_lists_all_and_prints_one() -> None:
    shown = CliRunner().invoke(cli, ["configs"]).output
    assert all(f"{name} " in shown for name in NAMES)
    assert json.loads(CliRunner().invoke(cli, ["configs", "--json"]).output)["configs"] == packaged_configs()
    printed = CliRunner().invoke(cli, ["configs", "quickstart"]).output
    assert printed == config_file("quickstart").read_text(encoding="utf-8")


def test_what_is_not_given_is_made_once(dataset: Dataset, tmp_path: Path) -> None:
    """Tokenizer and IDF table of the training split, in the run folder; the model is then up to date."""
    arguments = ["train", "quickstart", "--dataset", str(dataset.path), "--output", str(tmp_path / "model")]
    for change in (
        f"stages=[{small_run.ONE_STEP}]",
        "head.max_length=64",
        "lexical_table=",
        "head.own_share=1",
        "threads=1",
    ):
        arguments += ["--set", change]
    shown = CliRunner().invoke(cli, arguments, standalone_mode=False, catch_exceptions=False)
    assert shown.exit_code == 0, shown.output
    assert "tokens, fewer than 16,000: the texts hold no more pieces" in shown.stderr
    assert (tmp_path / "model.run" / "inputs" / "tokenizer" / "tokenizer.json").is_file()
    trained = Model.open(tmp_path / "model")
    assert trained.idf["split"] == "train" and trained.idf["dataset"] == dataset.fingerprint
    again = CliRunner().invoke(cli, [*arguments, "--json"])
    assert again.exit_code == 0 and json.loads(again.stdout)["fingerprint"] == trained.fingerprint
    with pytest.raises(ConfigError, match="tokenizer: missing; give it as `tokenizer`, made by: osparse corpus"):
        train("quickstart", dataset, tmp_path / "other")


def test_several_processes_do_not_make_the_same_files(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    arguments = ["train", "quickstart", "--dataset", str(dataset.path), "--output", str(tmp_path / "model")]
    shown = CliRunner().invoke(cli, arguments, standalone_mode=False)
    assert "give --tokenizer and --idf" in str(shown.exception) and not list(tmp_path.iterdir())


def test_quickstart_keeps_its_promise_of_non_zeros() -> None:
    top_k = read_settings(TrainConfig, config_file("quickstart"), PATHS[:2]).head.top_k
    assert top_k is not None and top_k <= 250


@pytest.mark.parametrize("name", [name for name in NAMES if needs_start(name)])
def test_a_config_that_continues_from_a_checkpoint_trains(
    name: str, scored: Dataset, model: Model, tmp_path: Path
) -> None:
    """Two steps of each stage with its losses, teachers and sparsity; sizes cut down to the test's world."""
    stages = [s for s in read_settings(TrainConfig, config_file(name), PATHS).stages if not isinstance(s, WarmStart)]
    changes = ["threads=1", "head.max_length=64", "validation.documents=10", "loop.compile=false"]
    if name != "l0":
        changes.append("sparsity.columns=0")
    changes += [
        f"stages.{stage.task}.{change}" for stage in stages for change in ("max_length=64", "steps=2", "batch=3")
    ]
    distillation = next((s.distillation for s in stages if isinstance(s, Ranking)), None)
    for number, teacher in enumerate(distillation.teachers if distillation else ()):
        if teacher.path is not None:  # the dense one is the tests' model too: its body is a BERT
            changes.append(f"stages.ranking.distillation.teachers.{number}.path={model.path}")
    made = train(name, scored, tmp_path / "model", overrides=changes, start=model.path)
    assert made.metrics["split"] == "validation"
    log = [json.loads(line) for line in (tmp_path / "model.run" / "metrics.jsonl").read_text().splitlines()]
    (last,) = (row for row in log if row.get("step") == 2 and row["stage"] == "ranking" and "loss" in row)
    assert ("distillation" in last) == (distillation is not None)
