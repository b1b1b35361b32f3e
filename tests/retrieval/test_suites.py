"""Suites of judged sets: the sets that a folder holds, measured as ``evaluate`` measures them, beside published figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from osparse.cli.main import main
from osparse.contracts.model import Model
from osparse.errors import InputError
from osparse.evaluation.measures import open_benchmark
from osparse.retrieval import evaluate, evaluate_suite
from osparse.retrieval.suites.published import Published, PublishedSet, Suite

TEXTS = [
    "A pear tree flowers white in spring.", "Flour and water are kneaded into dough.", "달은 한 달 동안 모양이 바뀐다.",
    "The moon makes the tides of the sea.",
]  # fmt: skip
QUERIES = {"when do trees flower": 0, "water of the sea": 3, "달의 모양": 2}
SMALL = Suite(
    "Small",
    {"scifact": PublishedSet(4, 3), "nq": PublishedSet(9, 9), "fiqa": PublishedSet(3, 2), "quora": PublishedSet(4, 3)},
    [
        Published("old", "a paper", {"scifact": 0.25, "nq": 0.9, "fiqa": 0.5, "quora": 0.75}),
        Published("new", "a page", {"scifact": 0.5, "nq": 0.9, "fiqa": 0.5, "quora": 0.7}),
    ],
)


def make_set(folder: Path, queries: dict[str, int]) -> None:
    (folder / "qrels").mkdir(parents=True)
    rows = {
        "corpus": [{"_id": f"d{number}", "title": "", "text": text} for number, text in enumerate(TEXTS)],
        "queries": [{"_id": f"q{number}", "text": text} for number, text in enumerate(queries)],
    }
    for name, lines in rows.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    judged = "".join(f"q{number}\td{document}\t1\n" for number, document in enumerate(queries.values()))
    (folder / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}", encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, queries in {"scifact": QUERIES, "quora": {**QUERIES, "dough": 0}, "mine": QUERIES}.items():
        make_set(tmp_path / "sets" / name, queries)
    (tmp_path / "sets" / "notes").mkdir()
    return tmp_path / "sets"


def test_a_suite_is_the_sets_at_hand_measured_one_by_one(folder: Path, model: Model, tmp_path: Path) -> None:
    report = evaluate_suite(SMALL, folder, models=[model], baseline="bm25", output=tmp_path / "reports")
    assert [(result.name, result.whole) for result in report.results] == [("scifact", True), ("quora", False)]
    assert (report.missing, report.others) == (["nq", "fiqa"], ["mine"])
    alone = {
        name: evaluate(
            open_benchmark(folder / name, lang="en"), models=[model], baseline="bm25", measures=["nDCG@10"]
        ).rows
        for name in ("scifact", "quora")
    }
    for result in report.results:
        assert result.report.rows == alone[result.name], "one collection, whatever the language of a text looks like"
    assert report.systems == ["bm25", "model model"]
    bm25 = [rows[0].figures["nDCG@10"] for rows in alone.values()]
    found = report.to_json()
    assert found["mean"]["bm25"] == pytest.approx(sum(bm25) / 2)
    means = found["mean_of_whole_sets"]
    assert means["measured"]["bm25"] == bm25[0] and means["published"] == {"old": 0.25, "new": 0.5}
    assert [one["published"] for one in found["sets"]] == [{"old": 0.25, "new": 0.5}, {}]
    lines = str(report).splitlines()
    assert lines[0] == f"Small in {folder}: 2 of 4 sets, nDCG@10"
    assert "[1] published: old: a paper" in lines and any("not in" in line and "nq, fiqa" in line for line in lines)
    assert any("quora has 4 documents and 4 judged queries, the published set 4 and 3" in line for line in lines)
    assert any("not measured: mine" in line for line in lines)
    assert sorted(path.name for path in (tmp_path / "reports").iterdir()) == ["quora.json", "scifact.json"]
    assert evaluate_suite(SMALL, folder, models=[model], baseline="bm25", output=tmp_path / "reports") == report


def test_the_published_figures_have_the_means_that_their_authors_give() -> None:
    """OpenSearch's model cards and, for SPLADE++ and BM25, Thakur et al.'s and Formal et al.'s settings in Pyserini."""
    beir = Suite.known("beir")
    means = {system.name: sum(system.ndcg10.values()) / 13 for system in beir.systems}
    given = {"doc-v2-distill": 0.504, "doc-v3-distill": 0.517, "doc-v3-gte": 0.546}
    assert {name: means[name] for name in given} == pytest.approx(given, abs=0.001)
    for system in beir.systems:
        assert system.ndcg10.keys() == beir.sets.keys() and system.source.startswith("https://")


def run(*words: str) -> Any:
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", *words])
    return stopped.value.code


def test_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not run("--suite", "beir", str(folder), "--baseline", "bm25", "--quiet")
    shown = capsys.readouterr().out
    assert shown.startswith(f"BEIR in {folder}: 2 of 13 sets") and "trec-covid, nfcorpus, nq" in shown
    assert not run("--suite", "beir", str(folder), "--baseline", "bm25", "--quiet", "--json")
    assert [one["name"] for one in json.loads(capsys.readouterr().out)["sets"]] == ["scifact", "quora"]
    for words, message in (
        (["--suite", "beir", str(folder), "--split", "dev"], "--split does not go with --suite"),
        (["--suite", "beir", str(folder), "--dataset", "x"], "one of --dataset DATASET and --suite beir DIR"),
        (["--suite", "beir", str(folder / "notes"), "--baseline", "bm25"], "holds none of the sets of BEIR"),
        ([], "one of --dataset DATASET and --suite beir DIR"),
    ):
        assert run(*words) and message in capsys.readouterr().err


def test_an_unknown_suite_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="`suite` must be beir, got 'miracl'"):
        evaluate_suite("miracl", folder, baseline="bm25")
