"""Judgements and runs as they are found in practice: comments, headers, pairs twice, spreadsheets with semicolons."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from osparse.errors import DatasetError, InputError
from osparse.evaluation.measures import open_benchmark
from osparse.retrieval import import_judgements
from osparse.retrieval.systems.run_file import read_qrels_file, read_run

ROWS = "q1\td1\t1\nq2\td2\t2\n"


def beir(folder: Path, qrels: str) -> Path:
    (folder / "qrels").mkdir(parents=True)
    (folder / "qrels" / "test.tsv").write_text(qrels, encoding="utf-8")
    for name, letter in (("corpus", "d"), ("queries", "q")):
        rows = [{"_id": f"{letter}{number}", "text": f"a text about number {number}"} for number in (1, 2)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "header",
    [
        "query-id\tcorpus-id\tscore\n",
        "query_id\tcorpus_id\tscore\n",
        "Topic ID\tDocument\trelevance\n",
        "qid\tdid\tlabel\n",
        "",
    ],
)
def test_the_first_line_may_name_the_columns(header: str, tmp_path: Path) -> None:
    (judged,) = open_benchmark(beir(tmp_path / "set", header + ROWS)).sets
    assert judged.qrels == {"q1": {"d1": 1}, "q2": {"d2": 2}}
    if " " not in header:
        (tmp_path / "qrels.tsv").write_text(header + ROWS, encoding="utf-8")
        assert read_qrels_file(tmp_path / "qrels.tsv").qrels == judged.qrels


def test_a_first_line_with_a_wrong_grade_is_no_header(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="test.tsv:1: expected query-id, corpus-id and a number"):
        open_benchmark(beir(tmp_path / "set", "q1\td1\tone\n" + ROWS))


def test_a_pair_with_two_grades(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The last counts and is said, as it is in BEIR's loader; a repeated row is one row."""
    folder = beir(tmp_path / "set", ROWS + "q2\td2\t3\nq1\td1\t1\nq1\td2\t1\nq1\td2\t0\n")
    (judged,) = open_benchmark(folder).sets
    assert judged.qrels == {"q1": {"d1": 1}, "q2": {"d2": 3}} and judged.not_relevant == {"q1": frozenset({"d2"})}
    assert "2 pairs have several grades, for example q2 d2: 2 and 3; the last one counts" in caplog.text
    with pytest.raises(DatasetError, match="2 pairs have several grades.*keep one, or leave `strict` out"):
        open_benchmark(folder, strict=True)
    caplog.clear()
    (judged,) = open_benchmark(beir(tmp_path / "same", ROWS + ROWS), strict=True).sets
    assert judged.qrels["q1"] == {"d1": 1} and not caplog.text
    (tmp_path / "qrels").write_text("q1 0 d1 1\nq1 0 d1 1\nq1 0 d1 0\n", encoding="utf-8")
    with pytest.raises(InputError, match="qrels:3: document d1 is judged 1 for query q1 before, and 0 here; keep one"):
        read_qrels_file(tmp_path / "qrels")


def test_lines_that_begin_with_a_hash_are_comments_as_in_trec_eval(tmp_path: Path) -> None:
    (tmp_path / "a.run").write_text("# made by a system\nq1 Q0 d1 1 0.9 a\n\n#q1 Q0 d2 2 0.8 a\n", encoding="utf-8")
    assert read_run(tmp_path / "a.run") == {"q1": {"d1": 0.9}}
    (tmp_path / "qrels").write_text("# assessors\nq1 0 d1 1\n", encoding="utf-8")
    assert read_qrels_file(tmp_path / "qrels").qrels == {"q1": {"d1": 1}}
    (tmp_path / "a.run").write_text("# c\nq1 Q0 d1 1\n", encoding="utf-8")
    with pytest.raises(InputError, match="a.run:2: expected query Q0 document rank score tag, found 4 columns"):
        read_run(tmp_path / "a.run")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_spreadsheet_may_separate_cells_in_its_own_way(delimiter: str, tmp_path: Path) -> None:
    folder = beir(tmp_path / "set", ROWS)
    rows = (["query", "docid", "rating"], ["a text about number 1", "d2", "1"], ["a text about number 2", "", ""])
    text = "\ufeff" + "\r\n".join(delimiter.join(row) for row in rows)
    (tmp_path / "ratings.csv").write_text(text, encoding="utf-8")
    made = import_judgements(tmp_path / "ratings.csv", folder, tmp_path / "judged")
    assert (made.added, made.without_grade) == (1, 1)
    (judged,) = open_benchmark(tmp_path / "judged").sets
    assert judged.qrels["q1"] == {"d1": 1, "d2": 1}
