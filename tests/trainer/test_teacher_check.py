"""A teacher is judged before it is learnt from: a random BERT is refused, a good one is not."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import world
from click.testing import CliRunner
from small_run import ONE_STEP

from osparse.cli.main import cli
from osparse.contracts.dataset import Dataset, Source, save_dataset
from osparse.contracts.model import Model
from osparse.corpus import score_candidates
from osparse.errors import ConfigError
from osparse.evaluation.candidate_lists import draw_lists
from osparse.trainer import plan, train

WORDS = sorted({word for record in world.RECORDS for word in record[4].lower().strip(".").split() if word.isalpha()})
DISTILLED = ONE_STEP[:-1] + (", negatives: 1, distillation: {loss: kl, weight: 1, over: own, teachers: [%s]%s}}")


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Seventy queries of three words, of which the answer holds all and each of eight candidates one.

    Scored by a good teacher, a noisy one and one that knows nothing.
    """
    generator = np.random.default_rng(0)
    documents, queries = [], []
    candidates: list[tuple[str, str, float | None, float | None, str, str]] = []
    qrels: dict[str, list[tuple[str, str, float, str]]] = {"train": [], "validation": []}
    for number in range(75):
        words = generator.choice(WORDS, 9, replace=False).tolist()
        answer, query = f"d{number}", f"q{number}"
        queries.append((query, " ".join(words[:3]), "en", None))
        documents.append((answer, "", " ".join(generator.permutation(words)), "en", None, "made", f"g{number}"))
        qrels["validation" if number >= 70 else "train"].append((query, answer, 1.0, "annotated"))
        if number >= 70:
            continue
        for teacher, skill in (("good", 9.0), ("noisy", 1.5), ("random", 0.0)):
            candidates.append((query, answer, None, skill + generator.normal(), "distilled", teacher))
        for place in range(8):
            others = generator.choice(WORDS, 9, replace=False).tolist()
            name = f"d{number}:{place}"
            documents.append((name, "", " ".join([words[place % 3], *others]), "en", None, "made", f"g{number}"))
            candidates.append((query, name, 0.0, None, "mined", ""))
            candidates += [(query, name, None, generator.normal(), "distilled", t) for t in ("good", "noisy", "random")]
    names = ["query_id", "document_id", "score", "origin"]
    return save_dataset(
        tmp_path_factory.mktemp("lists") / "dataset",
        documents=pl.DataFrame(documents, schema=["id", "title", "text", "lang", "date", "source", "group"], orient="row"),
        queries=pl.DataFrame(queries, schema=["id", "text", "lang", "date"], orient="row"),
        qrels={split: pl.DataFrame(rows, schema=names, orient="row") for split, rows in qrels.items()},
        candidates={
            "train": pl.DataFrame(
                candidates, schema=["query_id", "document_id", "label", "score", "origin", "scorer"], orient="row"
            )
        },
        sources=[Source("made", "Apache-2.0", len(documents), len(documents), {}, "0" * 64)], split_rule="tests", seed=0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def random_bert(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bi-encoder of random weights."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertModel

    path = tmp_path_factory.mktemp("random") / "random-bert"
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(model.lexicon.tokens), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64,
    )  # fmt: skip
    BertModel(config).save_pretrained(path)
    AutoTokenizer.from_pretrained(model.path).save_pretrained(path)
    return path


def settings(teacher: str, more: str = "") -> list[str]:
    return [f"stages=[{DISTILLED % (teacher, more)}]"]


def test_a_random_bert_is_refused_before_anything_is_trained(
    yaml: Path, lists: Dataset, random_bert: Path, tmp_path: Path
) -> None:
    teacher = settings(f"{{kind: dense, path: {random_bert}}}")
    with pytest.raises(ConfigError, match=r"random-bert has nDCG@10 .* near chance.*force_teacher: true") as raised:
        train(yaml, lists, tmp_path / "model", overrides=teacher)
    assert "bm25" in str(raised.value) and not (tmp_path / "model").exists()
    planned = plan(yaml, lists, tmp_path / "model", overrides=teacher)
    assert planned.refused is not None and planned.teachers[0].verdict == "near chance"
    assert "training would refuse this" in planned.text() and "scores of" in planned.text()
    assert planned.to_json()["teachers"][0]["figures"]["all"]["chance"]["ndcg"] < 0.6


def test_it_can_be_forced_in_plain_words(
    yaml: Path, lists: Dataset, random_bert: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        model = train(
            yaml, lists, tmp_path / "model",
            overrides=settings(f"{{kind: dense, path: {random_bert}}}", ", force_teacher: true"),
        )  # fmt: skip
    assert "random-bert has nDCG@10" in caplog.text and "near chance" in caplog.text
    (quality,) = model.training["teacher_quality"]
    assert quality["verdict"] == "near chance" and quality["examples"] == []


@pytest.mark.parametrize(
    ("scorer", "verdict"), [("good", "better than chance"), ("noisy", "better than chance"), ("random", "near chance")]
)
def test_scores_of_the_dataset_are_judged_too(
    scorer: str, verdict: str, yaml: Path, lists: Dataset, tmp_path: Path
) -> None:
    planned = plan(yaml, lists, tmp_path / "model", overrides=settings(f"{{kind: dataset, scorer: {scorer}}}"))
    assert planned.teachers[0].verdict == verdict and (planned.refused is None) == (verdict != "near chance")
    assert planned.teachers[0].queries == 70


def test_a_dataset_of_a_few_queries_is_not_refused(
    yaml: Path, dataset: Dataset, random_bert: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is known of a teacher from so few, and that is what is said."""
    overrides = settings(f"{{kind: dense, path: {random_bert}}}".replace("negatives: 1", "negatives: 0"))
    stage = overrides[0].replace(", negatives: 1", "").replace("over: own", "over: batch")
    planned = plan(yaml, dataset, tmp_path / "model", overrides=[stage])
    assert planned.teachers[0].queries == 10 and planned.teachers[0].lists == 20
    bm25 = plan(
        yaml,
        dataset,
        tmp_path / "model",
        overrides=[stage.replace("kind: dense", "kind: bm25").replace(f", path: {random_bert}", "")],
    )
    assert bm25.teachers == [], "BM25 is what teachers are compared with"


def test_scoring_warns_and_says_all(
    lists: Dataset, random_bert: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        made, report = score_candidates(lists, tmp_path / "scored", random_bert)
    assert "random-bert has nDCG@10" in caplog.text and report.quality.verdict == "near chance"
    (note,) = made.manifest.notes["teachers"]
    assert note["quality"]["verdict"] == "near chance" and "examples" not in note["quality"]
    command = ["corpus", "score", str(lists.path), "--teacher", str(random_bert), "--output", str(tmp_path / "again")]
    shown = CliRunner().invoke(cli, command)
    for part in ("bm25", "chance", "MRR", "p50", "negative ", "near chance"):
        assert part in shown.output
    plain = json.loads(CliRunner().invoke(cli, [*command[:-1], str(tmp_path / "third"), "--json", "--quiet"]).stdout)
    assert len(plain["quality"]["examples"]) == 5 and plain["quality"]["verdict"] == "near chance"


def test_lists_are_the_queries_own_candidates(lists: Dataset, dataset: Dataset) -> None:
    drawn = draw_lists(lists, queries=20, seed=3)
    assert len(drawn) == 20 and all(len(one.document_ids) == 9 and one.relevant.sum() == 1 for one in drawn)
    assert [one.query_id for one in drawn] == [one.query_id for one in draw_lists(lists, queries=20, seed=3)]
    without = draw_lists(dataset)
    assert {one.direction for one in without} == {"en->en", "en->ko", "ko->en", "ko->ko"}
    assert all(len(one.document_ids) == 5 and one.relevant.sum() == 1 for one in without), "the others' answers"


def test_a_teacher_is_not_judged_by_the_answers_that_it_chose(
    lists: Dataset, yaml: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Rows of scores alone: the best scored text is the answer, so that a teacher without any skill looks perfect."""
    scores = lists.candidates("train").filter(pl.col("scorer") == "random").collect()
    best = scores.sort("score", descending=True).unique("query_id", keep="first", maintain_order=True)
    chosen = best.select("query_id", "document_id", score=pl.lit(1.0, pl.Float32), origin=pl.lit("mined"))
    validation = lists.qrels("validation").collect()
    alone = save_dataset(
        tmp_path / "scores", documents=lists.documents.collect(), queries=lists.queries.collect(),
        qrels={"train": chosen, "validation": validation}, candidates={"train": scores},
        sources=lists.manifest.sources, split_rule="tests", seed=0,
    )  # fmt: skip
    assert draw_lists(alone) and not draw_lists(alone, mined=False)
    stage = DISTILLED % ("{kind: dataset, scorer: random}", "")
    planned = plan(yaml, alone, tmp_path / "model", overrides=[f"stages=[{stage}]"])
    (quality,) = planned.teachers
    assert quality.verdict == "cannot be told" and "of somebody else's judgement" in quality.finding()
    assert planned.refused is None and "cannot be told" in caplog.text
