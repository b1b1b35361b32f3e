"""One split rule across datasets: what another dataset holds back is held back in a new one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from osparse.cli.main import cli
from osparse.contracts.dataset import Dataset
from osparse.contracts.seen import SeenTexts
from osparse.corpus import build_dataset
from osparse.corpus.split.splits import split_of
from osparse.errors import DatasetError, InputError
from osparse.evaluation.trained_on import trained_on_split
from osparse.io.files import canonical_json


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(canonical_json(row) + "\n" for row in rows), encoding="utf-8")
    return path


def pair(number: int, **changes: object) -> dict[str, object]:
    return {
        "query": f"what is thing {number}",
        "pos": f"Thing {number} is made of part {number}.",
        "group": f"a{number}",
        **changes,
    }


def split_by_query(dataset: Dataset) -> dict[str, str]:
    """Text of a query -> its split."""
    return {
        text: split for split in dataset.splits for text in dataset.split_queries(split).collect()["text"].to_list()
    }


@pytest.fixture
def first(tmp_path: Path) -> Dataset:
    return build_dataset("jsonl", [write(tmp_path / "first.jsonl", [pair(i) for i in range(60)])], tmp_path / "first")


def test_the_same_groups_texts_and_queries_stay_in_their_split(first: Dataset, tmp_path: Path) -> None:
    """Each kind of tie alone, under groups that the rule would put elsewhere."""
    home = split_by_query(first)
    rows = []
    for i in range(60):
        rows.append(pair(1000 + i, group=f"a{i}"))  # the group's name
        rows.append(pair(2000 + i, pos=f"  THING {i} is made of\npart {i}. ", group=f"b{i}"))  # the answer
        rows.append(pair(3000 + i, query=f"What is  thing {i}", group=f"c{i}"))  # the query
    path = write(tmp_path / "second.jsonl", rows)
    plain = split_by_query(build_dataset("jsonl", [path], tmp_path / "plain"))
    alike = build_dataset("jsonl", [path], tmp_path / "alike", split_like=first)
    found = split_by_query(alike)
    asked = {1000: "what is thing {}", 2000: "what is thing {}", 3000: "What is  thing {}"}
    for i in range(60):
        expected = home[f"what is thing {i}"]
        for kind, text in asked.items():
            name = text.format(i if kind == 3000 else kind + i)
            assert found[name] == expected, name
    assert any(plain[name] != split for name, split in found.items()), "the rule alone deals otherwise"
    assert (
        "are in its split, as if published" in alike.manifest.split_rule
        and first.fingerprint[:12] in alike.manifest.split_rule
    )


def test_what_the_other_dataset_does_not_know_is_dealt_by_the_rule(first: Dataset, tmp_path: Path) -> None:
    path = write(tmp_path / "new.jsonl", [pair(5000 + i, group=f"new{i}") for i in range(60)])
    alike = build_dataset("jsonl", [path], tmp_path / "alike", split_like=first.path)
    assert split_by_query(alike) == {f"what is thing {5000 + i}": split_of(f"new{i}") for i in range(60)}


def test_a_model_of_the_new_training_split_has_not_seen_the_old_test_split(first: Dataset, tmp_path: Path) -> None:
    rows = [pair(7000 + i, pos=f"Thing {i} is made of part {i}.", group=f"n{i}") for i in range(60)]
    path = write(tmp_path / "new.jsonl", rows)

    def leaked(dataset: Dataset) -> int:
        documents = dataset.split_documents("train").collect()["text"].to_list()
        return trained_on_split(first, "test", SeenTexts.of(documents, [])).answers_seen

    assert leaked(build_dataset("jsonl", [path], tmp_path / "plain")) > 0
    assert leaked(build_dataset("jsonl", [path], tmp_path / "alike", split_like=first)) == 0


def test_conflicts_are_counted_by_name(first: Dataset, tmp_path: Path) -> None:
    home = split_by_query(first)
    held = next(i for i in range(60) if home[f"what is thing {i}"] == "test")
    trained = next(i for i in range(60) if home[f"what is thing {i}"] == "train")
    rows = [
        pair(8000, pos=f"Thing {held} is made of part {held}.", group="both"),
        pair(8001, pos=f"Thing {trained} is made of part {trained}.", group="both"),
        *(pair(8100 + i, group=f"z{i}") for i in range(10)),
    ]
    alike = build_dataset("jsonl", [write(tmp_path / "new.jsonl", rows)], tmp_path / "alike", split_like=first)
    found = split_by_query(alike)
    assert found["what is thing 8000"] == found["what is thing 8001"] == "test"
    (reason,) = alike.manifest.notes["split_conflicts"]
    assert "a group that first has in several splits" in reason and alike.manifest.notes["split_conflicts"][reason] == 2


def test_published_splits_that_hold_less_back_lose_what_is_held_back(first: Dataset, tmp_path: Path) -> None:
    home = split_by_query(first)
    held = next(i for i in range(60) if home[f"what is thing {i}"] == "test")
    trained = next(i for i in range(60) if home[f"what is thing {i}"] == "train")
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    texts = {
        "d1": f"Thing {held} is made of part {held}.",
        "d2": f"Thing {trained} is made of part {trained}.",
        "d3": "Another.",
    }
    write(folder / "corpus.jsonl", [{"_id": name, "title": "", "text": text} for name, text in texts.items()])
    write(folder / "queries.jsonl", [{"_id": f"q{n}", "text": f"question {n}"} for n in (1, 2, 3)])
    (folder / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\nq3\td3\t1\n")
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq2\td2\t1\n")
    alike = build_dataset("beir", [folder], tmp_path / "alike", split_like=first)
    assert split_by_query(alike) == {"question 3": "train", "question 2": "test"}
    assert sorted(alike.manifest.notes["split_conflicts"].values()) == [1, 1]


def test_the_command(first: Dataset, tmp_path: Path) -> None:
    path = write(tmp_path / "new.jsonl", [pair(i, query=f"new {i}") for i in range(60)])
    command = ["corpus", "build", "--source", "jsonl", str(path), "--split-like", str(first.path), "--json", "--quiet"]
    shown = CliRunner().invoke(cli, [*command, "--output", str(tmp_path / "a")])
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout)["counts"]["qrels.test.arrow"] == first.manifest.counts["qrels.test.arrow"]
    again = CliRunner().invoke(cli, [*command, "--output", str(tmp_path / "a")])
    assert json.loads(again.stdout)["fingerprint"] == json.loads(shown.stdout)["fingerprint"]
    other = CliRunner().invoke(cli, [*command, "--output", str(tmp_path / "b"), "--seed", "5"])
    assert "--seed must be 0, as first was split by, got 5" in str(other.exception)


def test_a_dataset_without_judgements_cannot_be_split_like(tmp_path: Path) -> None:
    documents = write(tmp_path / "plain.jsonl", [{"id": "1", "text": "some text of a document"}])
    plain = build_dataset("jsonl", [documents], tmp_path / "plain")
    path = write(tmp_path / "new.jsonl", [pair(1), pair(2)])
    with pytest.raises(DatasetError, match="to split another one alike"):
        build_dataset("jsonl", [path], tmp_path / "new", split_like=plain)
    with pytest.raises(InputError, match="`seed` must be 0"):
        made = build_dataset("jsonl", [path], tmp_path / "made")
        build_dataset("jsonl", [path], tmp_path / "again", split_like=made, seed=3)
