"""Judgements to Quepid and the Search Relevance Workbench, and back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from osparse.cli.main import main
from osparse.errors import InputError
from osparse.evaluation.measures import open_benchmark
from osparse.retrieval import export_judgements, import_judgements


def folder(path: Path, judgements: str) -> Path:
    (path / "qrels").mkdir(parents=True)
    (path / "corpus.jsonl").write_text("".join(f'{{"_id": "d{n}", "text": "t{n}"}}\n' for n in range(4)))
    (path / "queries.jsonl").write_text(
        '{"_id": "q", "text": "red, \\"long\\" dress"}\n{"_id": "r", "text": "=jeans"}\n{"_id": "s", "text": "=jeans"}\n'
    )
    (path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judgements)
    return path


@pytest.fixture
def judged(tmp_path: Path) -> Path:
    return folder(tmp_path / "judged", "q\td0\t3\nq\td1\t0\nr\td2\t1\n")


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """The same queries and documents with one judgement each."""
    return folder(tmp_path / "bare", "q\td0\t3\nr\td2\t1\n")


def test_the_files_are_those_that_the_programs_take(judged: Path, tmp_path: Path) -> None:
    export_judgements(judged, tmp_path / "r.csv", format="quepid")
    lines = (tmp_path / "r.csv").read_text().splitlines()
    assert lines[0] == "query,docid,rating" and lines[-1] == " =jeans,d2,1"
    assert set(lines[1:-1]) == {'"red, ""long"" dress",d0,3', '"red, ""long"" dress",d1,0'}
    made = export_judgements(judged, tmp_path / "j.json", format="workbench-judgements")
    body = json.loads((tmp_path / "j.json").read_text())
    first, second = body.pop("judgmentRatings")
    assert body == {"name": "j", "type": "IMPORT_JUDGMENT"} and (made.queries, made.judgements) == (2, 3)
    assert second == {"query": "=jeans", "ratings": [{"docId": "d2", "rating": "1.000"}]}
    assert sorted(rating["rating"] for rating in first["ratings"]) == ["0.000", "3.000"]
    export_judgements(judged, tmp_path / "q.json", format="workbench-queries")
    queries = [{"queryText": 'red, "long" dress'}, {"queryText": "=jeans"}]
    assert json.loads((tmp_path / "q.json").read_text()) == {
        "name": "q", "sampling": "manual", "querySetQueries": queries
    }  # fmt: skip


@pytest.mark.parametrize(("name", "form"), [("r.csv", "quepid"), ("j.json", "workbench-judgements")])
def test_there_and_back(name: str, form: str, judged: Path, bare: Path, tmp_path: Path) -> None:
    export_judgements(judged, tmp_path / name, format=form)
    made = import_judgements(tmp_path / name, bare, tmp_path / "again")
    (before,), (after,) = open_benchmark(judged).sets, open_benchmark(tmp_path / "again").sets
    assert (after.qrels, after.not_relevant) == (before.qrels, before.not_relevant) and (made.added, made.known) == (
        1,
        2,
    )


def test_the_answer_of_the_workbench_is_read(bare: Path, tmp_path: Path) -> None:
    """The form of GET /_plugins/_search_relevance/judgments/<id>."""
    ratings = [{"query": "=Jeans", "ratings": [{"rating": "2.000", "docId": "d3"}]}]
    answer = {
        "took": 3,
        "hits": {"total": {"value": 1}, "hits": [{"_id": "x", "_source": {"judgmentRatings": ratings}}]},
    }
    (tmp_path / "a.json").write_text(json.dumps(answer))
    import_judgements(tmp_path / "a.json", bare, tmp_path / "again")
    assert open_benchmark(tmp_path / "again").sets[0].qrels["r"] == {"d2": 1, "d3": 2}


def test_a_query_that_nobody_rated_in_quepid_is_left_out(bare: Path, tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("Query,DocID,Rating\n=jeans\n=jeans,d3,2\nother,d1,1\n")
    made = import_judgements(tmp_path / "r.csv", bare, tmp_path / "again")
    assert (made.added, made.without_grade, made.other_queries) == (1, 1, 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"judgmentRatings": {}}, "has no judgmentRatings"),
        ([], "has no judgmentRatings"),
        ({"judgmentRatings": [{"query": "=jeans"}]}, "judgmentRatings 1: needs query and a list of ratings"),
        ({"judgmentRatings": [{"query": "=jeans", "ratings": [{"rating": "1"}]}]}, "needs query, and docId"),
        ({"judgmentRatings": [{"query": "=jeans", "ratings": [{"docId": "d1", "rating": "0.73"}]}]}, "whole number"),
    ],
)
def test_other_json_is_refused(content: object, message: str, bare: Path, tmp_path: Path) -> None:
    (tmp_path / "j.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        import_judgements(tmp_path / "j.json", bare, tmp_path / "again")


def test_what_cannot_be_exported_is_refused(judged: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="`output` must end in .csv for quepid"):
        export_judgements(judged, tmp_path / "r.json", format="quepid")
    with pytest.raises(InputError, match="`format` must be quepid, "):
        export_judgements(judged, tmp_path / "r.csv", format="excel")
    contrary = folder(tmp_path / "contrary", "r\td2\t1\ns\td2\t2\n")
    with pytest.raises(InputError, match="have the grades 1 and 2 for the document d2"):
        export_judgements(contrary, tmp_path / "r.csv", format="quepid")


def test_the_command(judged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["judge", "export", str(judged), "--format", "quepid", "--output", str(tmp_path / "r.csv")]
    with pytest.raises(SystemExit) as stopped:
        main(command)
    assert not stopped.value.code and "r.csv: 2 queries, 3 judgements" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        main(command)
    assert stopped.value.code == 2 and "pass --overwrite" in capsys.readouterr().err
