"""A BEIR folder as BEIR publishes it, and broken ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from osparse.cli.main import cli
from osparse.corpus import build_dataset
from osparse.errors import DatasetError
from osparse.evaluation.measures import open_benchmark

CORPUS: list[dict[str, Any]] = [
    {"_id": "d1", "title": "Pears", "text": "A pear tree flowers in spring.", "metadata": {}},
    {"_id": "d2", "title": "", "text": "빵은 밀가루로 만든다."},
    {"_id": "d3", "title": "", "text": ""},
    {"_id": "d4", "title": "Only a title", "text": ""},
]
QUERIES = [{"_id": "q1", "text": "pear blossom"}, {"_id": "q2", "text": "빵 재료"}, {"_id": "q3", "text": "title"}]
QRELS = {"train": [("q3", "d4", 1)], "dev": [("q2", "d2", 1), ("q2", "d1", 0)], "test": [("q1", "d1", 2)]}


def write(folder: Path) -> Path:
    (folder / "qrels").mkdir(parents=True)
    for name, rows in (("corpus", CORPUS), ("queries", QUERIES)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for split, judged in QRELS.items():
        lines = ["query-id\tcorpus-id\tscore", *("\t".join(map(str, row)) for row in judged)]
        (folder / "qrels" / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    return folder


def test_a_folder_keeps_its_own_splits_and_grades(tmp_path: Path) -> None:
    dataset = build_dataset("beir", [write(tmp_path / "beir")], tmp_path / "dataset")
    found = {s: set(dataset.qrels(s).collect().iter_rows()) for s in ("train", "validation", "test")}
    assert found == {
        "train": {("q3", "d4", 1.0, "annotated")},
        "validation": {("q2", "d2", 1.0, "annotated"), ("q2", "d1", 0.0, "annotated")},
        "test": {("q1", "d1", 2.0, "annotated")},
    }
    documents = {d["id"]: d for d in dataset.documents.collect().to_dicts()}
    assert documents["d1"]["text"] == "Pears A pear tree flowers in spring."
    assert documents["d1"]["title"] == "Pears"
    assert {d["lang"] for d in documents.values()} == {"en", "ko"}
    assert dataset.manifest.sources[0].dropped == {"no text": 1}
    assert dataset.manifest.split_rule == "as the source published them"


def test_one_split_is_enough_and_published_splits_may_share_documents(tmp_path: Path) -> None:
    folder = write(tmp_path / "beir")
    (folder / "qrels" / "dev.tsv").unlink()
    (folder / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\n")
    dataset = build_dataset("beir", [folder], tmp_path / "dataset")
    assert set(dataset.qrels("train").collect()["document_id"]) == {"d1"}
    with pytest.raises(DatasetError, match="has no validation qrels; it has: train, test"):
        dataset.qrels("validation")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("corpus.jsonl", '{"_id": "d1"}', "corpus.jsonl:1: text must be a string, found NoneType"),
        (
            "corpus.jsonl",
            '{"_id": 1.5, "text": "t"}',
            "corpus.jsonl:1: _id must be a string or a whole number, found float",
        ),
        ("corpus.jsonl", '{"_id": "a", "text": "t", "title": 3}', "corpus.jsonl:1: title must be a string"),
        (
            "corpus.jsonl",
            '{"_id": "a", "text": "t"}\n' * 2,
            "corpus.jsonl:2: the id 'a' was used before, at .*corpus.jsonl:1",
        ),
        ("corpus.jsonl", "<html>", "corpus.jsonl:1: this is an HTML page"),
        (
            "queries.jsonl",
            '{"_id": "q1", "text": ""}',
            "none of the 4 judgements names a query and a document that were",
        ),
        ("corpus.jsonl", '{"_id": "a", "text": "t", "lang": 3}', "corpus.jsonl:1: lang must be a string, found int"),
        ("qrels/test.tsv", "q1\td1\t1\nq1\td1\t1\t1\n", "test.tsv:2: expected query-id"),
        ("qrels/test.tsv", "q1\td1\tinf\n", "test.tsv:1: the score must be a finite number, found 'inf'"),
        ("qrels/test.tsv", "q1\td1\t1e39\n", "test.tsv:1: the score must be a finite number, found '1e39'"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\n", "test.tsv:2: expected query-id"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\tx\n", "test.tsv:2: expected query-id"),
    ],
)
def test_a_malformed_row_is_named_with_its_line(tmp_path: Path, name: str, content: str, message: str) -> None:
    folder = write(tmp_path / "beir")
    (folder / name).write_text(content)
    with pytest.raises(DatasetError, match=message):
        build_dataset("beir", [folder], tmp_path / "dataset")
    assert not (tmp_path / "dataset").exists()


@pytest.mark.parametrize(
    ("row", "what"),
    [("q1\td3\t1", "document"), ("q1\tnowhere\t1", "document"), ("q9\td1\t1", "query"), ("q0\td1\t0", "query")],
)
def test_judgements_of_what_is_missing_or_empty_are_dropped_and_counted(
    row: str, what: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Published sets have such holes; the figures are those of the set without them, from either form of it."""
    whole = build_dataset("beir", [write(tmp_path / "whole")], tmp_path / "whole-dataset")
    folder = write(tmp_path / "beir")
    with (folder / "queries.jsonl").open("a") as file:
        file.write('{"_id": "q0", "text": " "}\n')
    with (folder / "qrels" / "test.tsv").open("a") as file:
        file.write(f"{row}\n")
    dataset = build_dataset("beir", [folder], tmp_path / "dataset")
    for split in ("train", "validation", "test"):
        assert dataset.qrels(split).collect().equals(whole.qrels(split).collect())
    assert dataset.queries.collect().equals(whole.queries.collect())
    assert dataset.manifest.notes["judgements_removed"] == {f"missing or empty {what}": 1}
    assert "1 judgements dropped" in caplog.text and "test.tsv:3" in caplog.text
    judged = [
        [(found.direction, found.queries, found.qrels) for found in open_benchmark(path).sets]
        for path in (folder, dataset.path, whole.path)
    ]
    assert judged[0] == judged[1] == judged[2]
    assert "left out of the figures" in caplog.text
    with pytest.raises(
        DatasetError, match=f"test.tsv:3: '.*' is not among the {what} ids.*1 judgements name such.*`strict=True`"
    ):
        build_dataset("beir", [folder], tmp_path / "strict", strict=True)
    assert not (tmp_path / "strict").exists()
    with pytest.raises(DatasetError, match=f"made without judgements that .* refuses: 1 of a missing or empty {what}"):
        build_dataset("beir", [folder], tmp_path / "dataset", strict=True)
    with pytest.raises(
        DatasetError, match=f"1 judgements name a missing or empty {what}.*give the whole corpus, or leave"
    ):
        open_benchmark(folder, strict=True)
    assert build_dataset("beir", [tmp_path / "whole"], tmp_path / "whole-dataset", strict=True).path == whole.path
    shown = CliRunner().invoke(
        cli, ["corpus", "build", "--source", "beir", str(folder), "--output", str(tmp_path / "c")]
    )
    assert shown.exit_code == 0 and f"judgements removed 1: missing or empty {what}" in shown.output
    refused = CliRunner().invoke(
        cli, ["corpus", "build", "--source", "beir", str(folder), "--output", str(tmp_path / "d"), "--strict"]
    )
    assert refused.exit_code and not (tmp_path / "d").exists()


def test_the_language_is_what_the_row_says_and_a_built_folder_is_measured_as_the_folder_itself(tmp_path: Path) -> None:
    folder = write(tmp_path / "beir")
    rows = [{**CORPUS[0], "lang": "en"}, {**CORPUS[1], "metadata": {"lang": "ko"}}, CORPUS[3]]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for header in ("", "query-id\tcorpus-id\tscore\n"):
        (folder / "qrels" / "test.tsv").write_text(header + "q1\td1\t2\r\n\nq2\td2\t1")
        dataset = build_dataset("beir", [folder], tmp_path / "dataset", overwrite=True)
        langs = dict(dataset.documents.select("id", "lang").collect().iter_rows())
        assert langs == {"d1": "en", "d2": "ko", "d4": "en"}
        built, itself = open_benchmark(dataset.path), open_benchmark(folder)
        assert built.sets == itself.sets
        assert [found.direction for found in built.sets] == ["en->en", "ko->ko"]


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"it has no corpus.jsonl, queries.jsonl, qrels/test.tsv"):
        build_dataset("beir", [tmp_path], tmp_path / "dataset")
    with pytest.raises(DatasetError, match="source beir reads one folder, got 2"):
        build_dataset("beir", [tmp_path, tmp_path], tmp_path / "dataset")


def test_hard_negatives_and_queries_with_holes_are_dropped_and_counted(tmp_path: Path) -> None:
    """The same holes in another published set: MS MARCO's."""
    folder = tmp_path / "msmarco"
    folder.mkdir()
    (folder / "collection.tsv").write_text("1\tpears flower\n2\tbread is baked\n3\ttrams run\n4\t \n")
    (folder / "queries.train.tsv").write_text("10\tpears\n11\tbread\n12\t \n")
    (folder / "qrels.train.tsv").write_text("10\t0\t1\t1\n11\t0\t2\t1\n12\t0\t3\t1\n10\t0\t4\t1\n")
    rows = [{"qid": 10, "pos": [1], "neg": {"bm25": [2, 99, 4]}}, {"qid": 11, "pos": [2], "neg": {"bm25": [3]}}]
    (folder / "msmarco-hard-negatives.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    dataset = build_dataset("msmarco", [folder], tmp_path / "dataset")
    assert set(dataset.qrels("train").select("query_id", "document_id").collect().iter_rows()) == {
        ("10", "1"),
        ("11", "2"),
    }
    assert set(dataset.candidates("train").select("query_id", "document_id").collect().iter_rows()) == {
        ("10", "2"),
        ("11", "3"),
    }
    assert dataset.manifest.notes["judgements_removed"] == {
        "missing or empty query": 1,
        "missing or empty document": 1,
        "missing or empty document of a candidate": 2,
    }
    (folder / "qrels.train.tsv").write_text("10\t0\t1\t1\n11\t0\t2\t1\n")
    with pytest.raises(DatasetError, match="2 candidates name a missing or empty document.*`strict=True`"):
        build_dataset("msmarco", [folder], tmp_path / "strict", strict=True)
