"""The dataset contract: what open refuses, what save refuses, and that both say all of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import world

from osparse.contracts.dataset import ALL, CANDIDATES, DOCUMENTS, QRELS, QUERIES, Dataset, Source, save_dataset
from osparse.errors import DatasetError, InputError
from osparse.io.files import sha256_file


@pytest.fixture
def copy(dataset: Dataset, tmp_path: Path) -> Path:
    return Path(shutil.copytree(dataset.path, tmp_path / "copy"))


def test_rows_come_back_as_they_were_saved(dataset: Dataset) -> None:
    again = Dataset.open(str(dataset.path))
    assert again.documents.collect_schema() == DOCUMENTS
    assert again.queries.collect_schema() == QUERIES
    assert again.qrels("test").collect_schema() == QRELS
    record = world.RECORDS[0]
    row = again.documents.filter(pl.col("id") == f"{record[0]}:ko").collect().row(0, named=True)
    assert (row["text"], row["lang"], row["group"]) == (record[2], "ko", record[0])


def test_a_split_holds_its_own_documents_and_queries_in_order(dataset: Dataset) -> None:
    groups = [record[0] for record in world.RECORDS[6:]]
    assert dataset.split_documents("test").collect()["id"].to_list() == [
        f"{g}:{lang}" for g in groups for lang in ("ko", "en")
    ]
    assert dataset.split_queries("test").collect()["id"].to_list() == [
        f"q:{g}:{lang}" for g in groups for lang in ("ko", "en")
    ]


def test_equal_rows_equal_fingerprint(dataset: Dataset, tmp_path: Path) -> None:
    assert world.make_dataset(tmp_path / "again").fingerprint == dataset.fingerprint


def test_everything_missing_or_misshapen_is_named_at_once(copy: Path) -> None:
    (copy / "queries.arrow").unlink()
    (copy / "qrels.train.arrow").write_bytes(b"<html>")
    pl.DataFrame({"query_id": ["q"]}).write_ipc(copy / "qrels.validation.arrow")
    short = pl.scan_ipc(copy / "qrels.test.arrow").head(1).collect()
    short.write_ipc(copy / "qrels.test.arrow", compression="uncompressed")
    with pytest.raises(DatasetError) as caught:
        Dataset.open(copy)
    message = str(caught.value)
    assert "queries.arrow is missing" in message
    assert "qrels.train.arrow is not an Arrow file" in message
    assert "qrels.validation.arrow has columns" in message
    assert "qrels.test.arrow has 1 rows, the manifest says 8" in message
    assert "rebuild it with: osparse corpus build" in message


def test_a_file_that_was_changed_is_named(copy: Path) -> None:
    file = copy / "documents.arrow"
    file.write_bytes(file.read_bytes().replace(world.RECORDS[0][2].encode(), world.RECORDS[0][2][::-1].encode()))
    with pytest.raises(DatasetError, match="documents.arrow was changed since the dataset was made") as caught:
        Dataset.open(copy)
    assert str(caught.value).count("  - ") == 1


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ("{", "manifest.json is not JSON"),
        ("[]", "dataset schema must be 1, got list"),
        ('{"schema": 2}', "dataset schema must be 1, got 2"),
        ('{"schema": 1}', "is not a dataset manifest: 'sources'"),
        ('{"schema": 1, "sources": [{"name": "x"}]}', "is not a dataset manifest"),
        ('{"schema": 1, "sources": [], "extra": 1}', "is not a dataset manifest"),
    ],
)
def test_a_broken_manifest(copy: Path, manifest: str, message: str) -> None:
    (copy / "manifest.json").write_text(manifest)
    with pytest.raises(DatasetError, match=message):
        Dataset.open(copy)


def test_no_dataset_at_all(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / "file"):
        with pytest.raises(
            DatasetError, match="is not a dataset: it has no manifest.json; make one with: osparse corpus"
        ):
            Dataset.open(path)


def test_a_dataset_without_qrels_is_refused(copy: Path) -> None:
    manifest = json.loads((copy / "manifest.json").read_text(encoding="utf-8"))
    manifest["counts"] = {name: rows for name, rows in manifest["counts"].items() if not name.startswith("qrels")}
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DatasetError, match="there are queries and no qrels: nothing says which document answers which"):
        Dataset.open(copy)


def test_documents_alone_are_a_dataset(dataset: Dataset, tmp_path: Path) -> None:
    plain = save(tmp_path / "plain", dataset, queries=dataset.queries.collect().clear(), qrels={})
    assert plain.splits == () and plain.learning_split == ALL and dataset.learning_split == "train"
    assert plain.split_documents(ALL).collect().height == plain.documents.collect().height == 16
    assert plain.learnable_documents().collect().equals(plain.documents.collect())
    for split in ("train", "test"):
        with pytest.raises(DatasetError, match=f"has no judgements.*its {split} split.*osparse corpus pairs"):
            plain.qrels(split)
    with pytest.raises(DatasetError, match="there are no documents"):
        save(
            tmp_path / "none",
            dataset,
            documents=dataset.documents.collect().clear(),
            queries=dataset.queries.collect().clear(),
            qrels={},
        )


def test_a_file_is_hashed_once_until_it_changes(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[Path] = []

    def counted(path: Path) -> str:
        hashed.append(path)
        return sha256_file(path)

    monkeypatch.setattr("osparse.contracts.dataset_checks.sha256_file", counted)
    Dataset.open(copy)
    Dataset.open(copy)
    assert len(hashed) == 2 * len(set(hashed))  # the files are younger than a file's times can tell
    monkeypatch.setattr("osparse.contracts.dataset_checks.SETTLED", -1e9)
    hashed.clear()
    Dataset.open(copy)
    Dataset.open(copy)
    assert len(hashed) == len(set(hashed)) == 5
    changed = (copy / "documents.arrow").read_bytes().replace(b"pear", b"bear", 1)
    (copy / "documents.arrow").write_bytes(changed)
    with pytest.raises(DatasetError, match="documents.arrow was changed since the dataset was made"):
        Dataset.open(copy)


def test_a_split_that_is_not_there(dataset: Dataset) -> None:
    with pytest.raises(DatasetError, match="has no dev qrels; it has: train, validation, test"):
        dataset.qrels("dev")


def save(path: Path, dataset: Dataset, **changes: Any) -> Dataset:
    tables: dict[str, Any] = {
        "documents": dataset.documents.collect(),
        "queries": dataset.queries.collect(),
        "qrels": {"train": dataset.qrels("train").collect()},
        "sources": dataset.manifest.sources,
    }
    return save_dataset(path, **{**tables, **changes}, split_rule="test", seed=0)


def qrels(*rows: tuple[str, str, float, str]) -> dict[str, pl.DataFrame]:
    return {"train": pl.DataFrame(rows, schema=QRELS, orient="row")}


def test_save_refuses_tables_that_do_not_fit_together(dataset: Dataset, tmp_path: Path) -> None:
    documents, queries = dataset.documents.collect(), dataset.queries.collect()
    known = ("q:pear:ko", "pear:ko")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"documents": pl.concat([documents, documents.head(1)])}, "documents: ids are not unique.*pear:ko"),
        ({"queries": queries.with_columns(text=pl.lit(" "))}, "queries: 16 without text"),
        ({"qrels": qrels(("q:nobody", "pear:ko", 1.0, "annotated"))}, "1 rows name unknown queries.*q:nobody"),
        ({"qrels": qrels((known[0], "nothing", 1.0, "annotated"))}, "1 rows name unknown documents.*nothing"),
        ({"qrels": qrels((*known, 1e39, "annotated"))}, "every score must be a finite number"),
        ({"qrels": qrels((*known, 1.0, "guessed"))}, "origin must be one of annotated, mined, distilled"),
        ({"qrels": qrels((*known, 1.0, "mined"), (*known, 0.0, "mined"))}, "judged twice"),
        ({"qrels": {}}, "there are queries and no qrels"),
        ({"qrels": qrels()}, "there are queries and no qrels"),
        ({"qrels": {"dev": dataset.qrels("train")}}, "a split must be one of train, validation, test, got 'dev'"),
        ({"sources": [Source("s", "l", 5, 0, {"too short": 5}, "0")]}, r"source s kept 0 of 5 rows \(5 too short\)"),
        ({"sources": [Source("s", "l", 5, 3, {"too short": 1}, "0")]}, "rows kept and dropped do not add up to 5"),
    ]
    for changes, message in cases:
        with pytest.raises(DatasetError, match=message):
            save(tmp_path / "dataset", dataset, **changes)
    assert list(tmp_path.iterdir()) == []


def test_save_keeps_what_is_there_unless_told(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="exists and is not empty"):
        save(tmp_path / "dataset", dataset)
    assert (tmp_path / "dataset" / "mine.txt").read_text() == "mine"


KNOWN = ("q:pear:ko", "bread:ko")
"""A query of the train split and a document that does not answer it."""


def candidates(*rows: tuple[object, ...]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=CANDIDATES, orient="row")


def test_candidates_come_back_and_count_in_the_fingerprint(dataset: Dataset, tmp_path: Path) -> None:
    rows = [
        (*KNOWN, 0.0, None, "annotated", ""),
        (*KNOWN, 0.0, 7.5, "mined", "bm25"),
        (*KNOWN, None, -1.5, "distilled", "teacher-a"),
        ("q:pear:ko", "rain:en", None, 2.5, "distilled", "teacher-a"),
    ]
    plain = save(tmp_path / "plain", dataset)
    with_them = save(tmp_path / "with", dataset, candidates={"train": candidates(*rows)})
    assert with_them.candidates("train").collect().rows() == rows
    assert set(with_them.candidate_documents("train").collect()["id"]) == {"bread:ko", "rain:en"}
    assert with_them.has_candidates("train") and not with_them.has_candidates("validation")
    assert with_them.fingerprint != plain.fingerprint
    with pytest.raises(DatasetError, match=r"no train candidates \(splits that have: none\); .*osparse corpus mine"):
        plain.candidates("train")
    (with_them.path / "candidates.train.arrow").unlink()
    with pytest.raises(DatasetError, match="candidates.train.arrow is missing"):
        Dataset.open(with_them.path)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("q:pear:ko", "pear:ko", 0.0, None, "mined", ""), "labelled negative, and the qrels judge them relevant"),
        (("q:nobody", "pear:ko", 0.0, None, "mined", ""), "1 rows name unknown queries"),
        (("q:tide:ko", "pear:ko", 0.0, None, "mined", ""), "of queries without qrels in the split, as 'q:tide:ko'"),
        (("q:pear:ko", "nothing", 0.0, None, "mined", ""), "1 rows name unknown documents"),
        ((*KNOWN, None, None, "mined", ""), "a row needs a label, a score or both"),
        ((*KNOWN, 0.0, 1.0, "mined", ""), "scorer must name what gave the score"),
        ((*KNOWN, 0.0, None, "mined", "bm25"), "scorer must name what gave the score"),
        ((*KNOWN, None, float("nan"), "distilled", "t"), "every label and score must be a finite number"),
        ((*KNOWN, 0.0, None, "guessed", ""), "origin must be one of"),
    ],
)
def test_candidates_that_would_mistrain_are_refused(
    row: tuple[object, ...], message: str, dataset: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match=message):
        save(tmp_path / "dataset", dataset, candidates={"train": candidates(row)})
    assert list(tmp_path.iterdir()) == []


def test_a_candidate_stands_once_for_each_scorer(dataset: Dataset, tmp_path: Path) -> None:
    row = (*KNOWN, 0.0, 1.0, "mined", "bm25")
    with pytest.raises(DatasetError, match="two rows of the same origin and scorer"):
        save(tmp_path / "dataset", dataset, candidates={"train": candidates(row, row)})
    with pytest.raises(DatasetError, match="candidates.validation: the split has no qrels"):
        save(tmp_path / "dataset", dataset, candidates={"validation": candidates(row)})


@pytest.mark.parametrize("kind", ["qrels", "candidates"])
@pytest.mark.parametrize("split", ["dev", "tset", "Test"])
def test_a_split_of_another_name_is_refused(kind: str, split: str, dataset: Dataset, tmp_path: Path) -> None:
    tables: dict[str, Any] = {"qrels": {s: dataset.qrels(s) for s in dataset.splits}, "candidates": {}}
    tables[kind] = {**tables[kind], split: dataset.qrels("train")}
    with pytest.raises(DatasetError, match=f"a split must be one of train, validation, test, got '{split}'"):
        save_dataset(
            tmp_path / "copy",
            documents=dataset.documents,
            queries=dataset.queries,
            sources=dataset.manifest.sources,
            split_rule="test",
            seed=0,
            **tables,
        )
    assert not (tmp_path / "copy").exists()
