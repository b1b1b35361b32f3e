"""Judged shares, the pool of unjudged documents, and the judgements that come back."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from osparse.cli.main import main
from osparse.contracts.dataset import Dataset
from osparse.errors import InputError
from osparse.evaluation.measures import judged_sets, open_benchmark
from osparse.retrieval import compare, evaluate, import_judgements, pool
from osparse.retrieval.judging.judged_share import judged_share_notes, shares

RUN = {"q:tide:ko": ["moon:ko", "tide:ko", "rain:ko"], "q:clay:en": ["clay:en", "bread:en", "moon:en"]}


def write_run_file(path: Path, rankings: dict[str, list[str]]) -> Path:
    lines = [f"{q} Q0 {d} {rank} {-rank} t\n" for q, ids in rankings.items() for rank, d in enumerate(ids)]
    path.write_text("".join(lines), encoding="utf-8")
    return path


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_the_pool_is_the_union_of_what_is_unjudged(dataset: Dataset, tmp_path: Path) -> None:
    runs = [
        write_run_file(tmp_path / "a.run", RUN),
        write_run_file(tmp_path / "b.run", {"q:tide:ko": ["bees:ko", "moon:ko", "tide:ko"]}),
    ]
    made = pool(runs, dataset.path, tmp_path / "judge.csv", depth=2)
    rows = read_csv(made.path)
    assert {(row["query_id"], row["document_id"]) for row in rows} == {
        ("q:tide:ko", "moon:ko"), ("q:tide:ko", "bees:ko"), ("q:clay:en", "bread:en")
    }  # fmt: skip
    assert (made.queries, made.to_judge, made.judged) == (2, 3, 2)
    texts = dict(dataset.documents.select("id", "text").collect().iter_rows())
    assert all(row["document"] == texts[row["document_id"]] and row["grade"] == "" for row in rows)
    pool(runs, dataset.path, tmp_path / "judge.jsonl", depth=2)
    lines = (tmp_path / "judge.jsonl").read_text(encoding="utf-8").splitlines()
    assert [{**row, "grade": None} for row in rows] == [json.loads(line) for line in lines]
    with pytest.raises(InputError, match="exists and may hold judgements"):
        pool(runs, dataset.path, tmp_path / "judge.csv")
    with pytest.raises(InputError, match="must end in .csv or .jsonl"):
        pool(runs, dataset.path, tmp_path / "judge.txt")


def test_a_spreadsheet_takes_no_text_for_a_formula(dataset: Dataset, tmp_path: Path) -> None:
    data = open_benchmark(dataset.path)
    formula = replace(data, documents=data.documents.with_columns(text=pl.lit('=HYPERLINK("x")')))
    pool([write_run_file(tmp_path / "a.run", RUN)], formula, tmp_path / "judge.csv")
    assert {row["document"] for row in read_csv(tmp_path / "judge.csv")} == {'\'=HYPERLINK("x")'}


def fill_in(path: Path, grades: dict[str, str]) -> None:
    rows = read_csv(path)
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "grade": grades.get(row["document_id"], "")} for row in rows)


def test_judgements_come_back_into_a_dataset(dataset: Dataset, tmp_path: Path) -> None:
    run = write_run_file(tmp_path / "a.run", RUN)
    made = pool([run], dataset.path, tmp_path / "judge.csv")
    fill_in(made.path, {"moon:ko": "2", "rain:ko": "0", "bread:en": "0"})
    imported = import_judgements(made.path, dataset.path, tmp_path / "judged")
    assert (imported.added, imported.relevant, imported.known, imported.without_grade) == (3, 1, 0, 1)
    sets = {judged.direction: judged for judged in judged_sets(Dataset.open(tmp_path / "judged"), "test")}
    assert sets["ko->ko"].qrels["q:tide:ko"] == {"tide:ko": 1, "moon:ko": 2}
    assert sets["ko->ko"].not_relevant == {"q:tide:ko": {"rain:ko"}}
    assert sets["en->en"].not_relevant == {"q:clay:en": {"bread:en"}}
    before, after = (
        {row.direction: row.judged10 for row in evaluate(path, runs=[run]).rows if not row.no_shared_word}
        for path in (dataset.path, tmp_path / "judged")
    )
    # By hand, two queries a direction, one of them answered: 1 and then 3 of 3 judged; 1 and then 2 of 3.
    assert before == pytest.approx({"ko->ko": 1 / 6, "en->en": 1 / 6, "ko->en": 0, "en->ko": 0})
    assert after == pytest.approx({"ko->ko": 3 / 6, "en->en": 2 / 6, "ko->en": 0, "en->ko": 0})
    again = import_judgements(made.path, tmp_path / "judged", tmp_path / "twice")
    assert (again.added, again.known) == (0, 3)
    assert pool([run], tmp_path / "judged", tmp_path / "left.csv").to_judge == 1


def test_judgements_come_back_into_a_beir_folder(dataset: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text('{"_id": "d", "text": "one"}\n{"_id": "e", "text": "two"}\n')
    (folder / "queries.jsonl").write_text('{"_id": "q", "text": "one?"}\n')
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td\t1\n")
    run = write_run_file(tmp_path / "a.run", {"q": ["e", "d"]})
    pool([run], folder, tmp_path / "judge.jsonl")
    row = json.loads((tmp_path / "judge.jsonl").read_text())
    (tmp_path / "judge.jsonl").write_text(json.dumps({**row, "grade": 3}))
    imported = import_judgements(tmp_path / "judge.jsonl", folder, tmp_path / "judged")
    assert open_benchmark(tmp_path / "judged").sets[0].qrels == {"q": {"d": 1, "e": 3}}
    assert imported.added == 1 and open_benchmark(folder).sets[0].qrels == {"q": {"d": 1}}
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"grade": "1.5"}, "judge.jsonl:1: the grade must be a whole number from 0 to 100, got '1.5'"),
        ({"grade": True}, "the grade must be a whole number"),
        ({"grade": -1}, "the grade must be a whole number"),
        ({"grade": 1, "document_id": "nowhere"}, "the dataset has no document 'nowhere'"),
        ({"grade": 1, "query_id": "nobody"}, "the dataset has no query 'nobody'"),
        ({"grade": 0, "document_id": "tide:ko"}, "document tide:ko is judged 1 for query q:tide:ko in the dataset"),
        ({"grade": ""}, "has no grade: fill in the column grade"),
    ],
)
def test_a_grade_that_cannot_be_used_is_refused(
    row: dict[str, object], message: str, dataset: Dataset, tmp_path: Path
) -> None:
    whole = {"query_id": "q:tide:ko", "document_id": "moon:ko", **row}
    (tmp_path / "judge.jsonl").write_text(json.dumps(whole))
    with pytest.raises(InputError, match=message):
        import_judgements(tmp_path / "judge.jsonl", dataset.path, tmp_path / "judged")
    assert not (tmp_path / "judged").exists()


def test_systems_of_unequal_judged_shares_are_noticed(tmp_path: Path) -> None:
    """The condensed nDCG@10 is that of the ranking without the unjudged documents."""
    (tmp_path / "qrels.txt").write_text("q 0 good 1\nq 0 bad 0\n")
    known = write_run_file(tmp_path / "known.run", {"q": ["bad", "good"]})
    unknown = write_run_file(tmp_path / "unknown.run", {"q": ["x", "y", "bad", "z", "good"]})
    comparison = compare([known, unknown], qrels=tmp_path / "qrels.txt")
    (first, second) = comparison.rows
    assert first.condensed_ndcg10 == second.condensed_ndcg10 == first.figures["nDCG@10"] > second.figures["nDCG@10"]
    assert (first.judged10, second.judged10) == (1.0, 0.4)
    (note,) = comparison.notes
    assert "cover 100% of the first documents of known and 0% of those of unknown" in note, "two documents of each"
    assert note in str(comparison)


def test_a_short_ranking_is_not_taken_for_a_well_judged_one(tmp_path: Path) -> None:
    """Both find the one answer first; the short ranking's share of ten would be 1/2, the long one's 1/10."""
    (tmp_path / "qrels.txt").write_text("q 0 good 1\nr 0 fine 1\n")
    short = write_run_file(tmp_path / "short.run", {"q": ["good", "x0"]})
    long = write_run_file(tmp_path / "long.run", {"q": ["good", *(f"x{n}" for n in range(9))], "r": ["y", "z"]})
    comparison = compare([short, long], qrels=tmp_path / "qrels.txt")
    assert [row.judged10 for row in comparison.rows] == [0.25, 0.05] and comparison.notes == []


def test_the_share_counts_as_many_documents_of_each_system() -> None:
    """q: two of each, 1/2 and 2/2; r: three of each, 0/3 and 1/3; s only one system answered."""
    first = {"q": (True, False, False), "r": (False, False, False, True), "s": (True,)}
    second = {"q": (True, True), "r": (True, False, False), "s": ()}
    assert shares(first, second) == (1 / 5, 3 / 5)
    assert shares({}, {}) == shares(first, {}) == (0, 0)
    (note,) = judged_share_notes("en->en", {"a": first, "b": second, "c": first})
    assert "en->en: the judgements cover 60% of the first documents of b and 20% of those of a" in note


def test_the_commands(dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run_file(tmp_path / "a.run", RUN)
    command = ["judge", "pool", str(run), "--dataset", str(dataset.path), "--output", str(tmp_path / "judge.csv")]
    with pytest.raises(SystemExit) as stopped:
        main(command)
    assert not stopped.value.code and "4 documents of 2 queries to judge; 2 others" in capsys.readouterr().out
    fill_in(tmp_path / "judge.csv", {"moon:ko": "1"})
    with pytest.raises(SystemExit) as stopped:
        main(["judge", "import", str(tmp_path / "judge.csv"), "--dataset", str(dataset.path), "--output",
              str(tmp_path / "judged"), "--json"])  # fmt: skip
    assert not stopped.value.code and json.loads(capsys.readouterr().out)["added"] == 1
    with pytest.raises(SystemExit) as stopped:
        main(command)
    assert stopped.value.code == 2 and "pass --overwrite to replace it, or another --output" in capsys.readouterr().err
