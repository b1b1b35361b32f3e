"""What the training records decide: settings that are ``auto``, and datasets that a packaged configuration refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from candidates_world import remake
from click.testing import CliRunner

from osparse.cli.main import cli
from osparse.contracts.dataset import Dataset, save_dataset
from osparse.corpus import build_dataset
from osparse.encoders.torch_encoder import TextEncoder
from osparse.errors import ConfigError, DatasetError
from osparse.io.settings import read_settings
from osparse.trainer import TrainConfig, plan, train
from osparse.trainer.config.named_config import config_file
from osparse.trainer.config.run_config import LexicalConfig, Ranking
from osparse.trainer.data.training_records import TokenisedText, TrainingRecord, TrainingRecords
from osparse.trainer.loop.auto_settings import settle

PATHS = ["tokenizer=tokenizer", "idf=idf.json"]


def text(lang: str, *ids: int) -> TokenisedText:
    return TokenisedText(f"{lang}{ids}", lang, np.array(ids, dtype=np.int64))


def records(*texts: tuple[list[TokenisedText], list[TokenisedText]]) -> TrainingRecords:
    made = [TrainingRecord(str(number), "", queries, documents) for number, (queries, documents) in enumerate(texts)]
    languages = sorted({document.lang for record in made for document in record.documents})
    return TrainingRecords(made, tuple(languages), {})


ALIGNED = records(
    ([text("ko", 1)], [text("ko", 1, 2), text("en", 3, 4)]), ([text("ko", 5)], [text("ko", 6), text("en", 7)])
)
KOREAN = records(([text("ko", 1)], [text("ko", 1, 2)]), ([text("ko", 3)], [text("ko", 4)]))
APART = records(([text("ko", 1)], [text("ko", 1, 2)]), ([text("en", 3)], [text("en", 4)]))
ACROSS = records(([text("ko", 1)], [text("en", 1, 2)]), ([text("en", 3)], [text("ko", 4)]))
"""Questions in one language, answers in the other: nothing says which token of an answer translates which."""


@pytest.mark.parametrize(
    ("trained_on", "weight", "queries"), [(ALIGNED, 1.11, 1), (KOREAN, 0, 0), (APART, 0, 0), (ACROSS, 0, 0)]
)
def test_auto_is_settled_by_the_records_and_said(trained_on: TrainingRecords, weight: float, queries: int) -> None:
    made = settle(read_settings(TrainConfig, config_file("quality"), PATHS), trained_on)
    assert made.config.lexical_table is not None and made.config.lexical_table.translated == weight
    (ranking,) = (stage for stage in made.config.stages if isinstance(stage, Ranking))
    assert ranking.translated_queries == queries
    said = "\n".join(made.notes)
    assert f"lexical_table.translated: auto is {weight}" in said and f"translated_queries: auto is {queries}" in said
    assert ("stages.mlm.translated: 0.5 has no effect" in said) == (weight == 0)
    assert "stages.mlm.batch: 44 is cut to 2" in said and "stages.ranking.batch: 64 is cut to 2" in said


@pytest.mark.parametrize(("own", "translated"), [(0.25, 0.7), (0.5, 0.7), (1.125, 1.05), (2.0, 1.4)])
def test_automatic_translations_grow_with_the_root_of_own(own: float, translated: float) -> None:
    config = read_settings(TrainConfig, config_file("quality"), [*PATHS, f"lexical_table.own={own}"])
    table = settle(config, ALIGNED).config.lexical_table
    assert table is not None and table.translated == pytest.approx(translated)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (["head.top_k=null"], "keep_own: the other tokens are bounded by top_k alone"),
        (["head.prune_ratio=0.2"], "keep_own: the other tokens are bounded by top_k alone"),
        (["head.max_length=64"], "stages: max_length 96 is above head.max_length 64"),
        (["lexical_table="], "head.own_share: without a lexical_table own tokens only lose by it; set it to 1"),
        (["head.network_length=64"], "stages: max_length 96 is above head.network_length 64"),
    ],
)
def test_heads_that_cannot_be_are_refused(change: list[str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        read_settings(TrainConfig, config_file("quickstart"), [*PATHS, *change])


def test_numbers_for_translations_that_cannot_be_are_refused_together() -> None:
    sets = ["lexical_table.translated=0.7", "stages.ranking.translated_queries=2"]
    config = read_settings(TrainConfig, config_file("quality"), [*PATHS, *sets])
    table, stages = settle(config, ALIGNED).config.lexical_table, settle(config, ALIGNED).config.stages
    assert table is not None and table.translated == 0.7
    assert [stage.translated_queries for stage in stages if isinstance(stage, Ranking)] == [2]
    with pytest.raises(ConfigError) as caught:
        settle(config, APART)
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "lexical_table.translated", "stages.ranking.translated_queries",
    ]  # fmt: skip
    nothing = read_settings(TrainConfig, config_file("quality"), [*PATHS, "lexical_table.own=0"])
    assert settle(nothing, KOREAN).config.lexical_table is None


def test_auto_trains_what_its_number_trains(yaml: Path, dataset: Dataset, tmp_path: Path) -> None:
    """On records in two languages, to the bit; the card and the summary say the number.

    How documents are read and cut when they are served changes nothing that is trained.
    """
    sets = ["stages.mlm.steps=1", "stages.ranking.steps=1"]
    longest = read_settings(TrainConfig, yaml, []).head.max_length
    served = {
        "auto": ["head.max_length=512", f"head.network_length={longest}", "head.keep_own=true", "head.top_k=9",
                 "head.prune_ratio=0", "head.own_share=0.5"],
        "0.7": [],
    }  # fmt: skip
    made = {
        value: train(
            yaml, dataset, tmp_path / value,
            overrides=[*sets, *head, f"lexical_table={{own: 0.5, translated: {value}}}"],
        )
        for value, head in served.items()
    }  # fmt: skip
    assert made["auto"].head.network_reads == longest and made["auto"].metrics["nonzeros"] > 9
    tables = [TextEncoder.open(model).encoder.lexical for model in made.values()]
    assert tables[0] is not None and tables[1] is not None and torch.equal(tables[0].weights, tables[1].weights)
    weights = [(model.path / "model.safetensors").read_bytes() for model in made.values()]
    assert weights[0] == weights[1]
    assert "translated: auto is 0.7" in (made["auto"].path / "README.md").read_text(encoding="utf-8")


def test_what_auto_became_repeats_the_run(yaml: Path, dataset: Dataset, tmp_path: Path) -> None:
    """To the bit, the table that validation chose included; the card says what was chosen and why."""
    sets = ["stages.mlm.steps=1", "stages.ranking.steps=2"]
    automatic = [
        "lexical_table={own: auto, translated: auto}", "stages.ranking.mixing={exponent: auto}", "validation.every=auto",
        "head.top_k=null", "head.nonzeros=25", "sparsity.target_nonzeros=auto",
    ]  # fmt: skip
    first = train(yaml, dataset, tmp_path / "first", overrides=[*sets, *automatic])
    became = first.training["auto"]
    assert set(became) == {
        "lexical_table.own", "lexical_table.translated", "stages.ranking.mixing.exponent", "validation.every",
        "sparsity.target_nonzeros",
    }  # fmt: skip
    numbers = [f"{name}={value}" for name, value in became.items()]
    second = train(yaml, dataset, tmp_path / "second", overrides=[*sets, *automatic, *numbers])
    assert "auto" not in second.training
    tables = [TextEncoder.open(model).encoder.lexical for model in (first, second)]
    assert tables[0] is not None and tables[1] is not None
    torch.testing.assert_close(tables[0].weights, tables[1].weights, rtol=1e-6, atol=0)
    weights = [(model.path / "model.safetensors").read_bytes() for model in (first, second)]
    assert weights[0] == weights[1] and first.metrics["ndcg"] == second.metrics["ndcg"]
    card = (first.path / "README.md").read_text(encoding="utf-8")
    assert "lexical_table.translated: auto is 0.7" in card and "is chosen: validation nDCG@10 of 0.25" in card
    last = train(yaml, dataset, tmp_path / "last", overrides=[*sets, *automatic, "validation.trained_on=true"])
    assert last.training["auto"]["lexical_table.own"] == 0.5
    assert "the defaults are kept" in last.metrics["settled"][-1]


def write_rows(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def german(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("german")
    rows: list[dict[str, object]] = [
        {"id": i, "title": f"Bohrer {i}", "text": f"Bohrmaschine Nummer {i} mit Akku und Koffer"} for i in range(40)
    ]
    return build_dataset("jsonl", [write_rows(folder / "rows.jsonl", rows)], folder / "dataset", lang="de")


@pytest.mark.parametrize("name", ["quickstart", "quality"])
def test_a_configuration_from_nothing_trains_on_one_language(name: str, german: Dataset, tmp_path: Path) -> None:
    arguments = ["train", name, "--dataset", str(german.path), "--output", str(tmp_path / "model")]
    for change in ("mlm.steps=1", "mlm.batch=2", "ranking.steps=1", "ranking.batch=2", "ranking.max_length=16"):
        arguments += ["--set", f"stages.{change}"]
    shown = CliRunner().invoke(cli, [*arguments, "--set", "encoder.layers=1"])
    assert shown.exit_code == 0, shown.output
    assert "note: lexical_table.translated: auto is 0, since no training record has" in shown.output


@pytest.mark.parametrize(
    ("splits", "said"),
    [((), "has no judgements"), (("test",), "no train split")],
)
def test_a_dataset_without_a_split_is_refused_before_anything_is_made(
    splits: tuple[str, ...], said: str, dataset: Dataset, tmp_path: Path
) -> None:
    queries = dataset.queries.collect()
    made = save_dataset(
        tmp_path / "data", documents=dataset.documents.collect(), queries=queries if splits else queries.clear(),
        qrels={split: dataset.qrels("train").collect() for split in splits}, sources=dataset.manifest.sources,
        split_rule="", seed=0,
    )  # fmt: skip
    output = tmp_path / "model"
    shown = CliRunner().invoke(cli, ["train", "quickstart", "--dataset", str(made.path), "--output", str(output)])
    assert shown.exit_code == 1 and said in str(shown.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_without_a_validation_split_nothing_is_chosen(dataset: Dataset, yaml: Path, tmp_path: Path) -> None:
    """The last step and the table's defaults stay; the card says so, and what its figures are of."""
    alone = save_dataset(
        tmp_path / "alone", documents=dataset.documents.collect(), queries=dataset.queries.collect(),
        qrels={split: dataset.qrels(split).collect() for split in ("train", "test")}, sources=dataset.manifest.sources,
        split_rule="", seed=0,
    )  # fmt: skip
    sets = ["stages.mlm.steps=1", "stages.ranking.steps=3", "validation.every=1"]
    table = ["lexical_table={own: auto, translated: auto}", "head.top_k=null", "head.nonzeros=25"]
    model = train(yaml, alone, tmp_path / "model", overrides=[*sets, *table])
    assert model.metrics["split"] == "train" and model.metrics["trained_on"] and model.metrics["step"] == 3
    assert model.training["auto"] == {"lexical_table.own": 0.5, "lexical_table.translated": 0.7}
    assert model.head.prune_ratio > 0 and model.metrics["nonzeros"] <= 25
    card = (model.path / "README.md").read_text(encoding="utf-8")
    assert "no validation split" in card and "on the train split" in card and "the defaults are kept" in card


def test_missing_candidates_and_scores_name_the_commands(dataset: Dataset, yaml: Path, tmp_path: Path) -> None:
    teacher = "{loss: kl, weight: 1, over: batch, teachers: [{kind: dataset}]}"
    wishes = {"stages.ranking.negatives=1": 1, f"stages.ranking.distillation={teacher}": 2}
    for wish, commands in wishes.items():
        with pytest.raises(DatasetError) as caught:
            plan(yaml, dataset, tmp_path / "model", overrides=[wish])
        told = str(caught.value)
        assert f"osparse corpus mine {dataset.path} --output {dataset.path}-mined" in told
        assert (f"osparse corpus score {dataset.path}-mined --teacher TEACHER" in told) == (commands == 2)
    judged = dataset.qrels("train").collect()
    query = judged["query_id"][0]
    relevant = judged.filter(query_id=query)["document_id"].to_list()
    other = next(name for name in judged["document_id"] if name not in relevant)
    mined = remake(dataset, tmp_path / "mined", [(query, other, 0.0, None, "mined", "")])
    with pytest.raises(DatasetError, match="hard negatives and no teacher's scores.*osparse corpus score"):
        plan(yaml, mined, tmp_path / "model", overrides=[f"stages.ranking.distillation={teacher}"])


def test_auto_is_the_only_word_that_a_number_may_be() -> None:
    with pytest.raises(ConfigError, match="lexical_table.translated: must be float or 'auto', got 'sometimes'"):
        read_settings(TrainConfig, config_file("quality"), [*PATHS, "lexical_table.translated=sometimes"])
    assert LexicalConfig(own=0, translated="auto").problems() == []
