"""Measures by name and run files: each beside somebody else's code (pytrec_eval, ir-measures, scipy, bm25s)."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from osparse.algorithms.words import words
from osparse.cli.main import main
from osparse.contracts.bundle import Bundle
from osparse.contracts.dataset import Dataset
from osparse.contracts.model import Model
from osparse.errors import InputError, MissingExtraError
from osparse.evaluation.measures import judged_sets, measure, open_benchmark
from osparse.evaluation.named_measures import check_measures, measured
from osparse.evaluation.significance import holm
from osparse.retrieval import compare, evaluate
from osparse.retrieval.systems.local_bm25 import Bm25Collection
from osparse.retrieval.systems.run_file import read_qrels_file, read_run, write_run

Make = Callable[[str], Any]
NAMES = ["nDCG@10", "nDCG@3", "hit@1", "hit@5", "R@100", "R@5", "Judged@10"]
THEIRS = ["nDCG@10", "nDCG@3", "Success@1", "Success@5", "R@100", "R@5", "Judged@10"]


def graded(seed: int) -> tuple[dict[str, dict[str, int]], dict[str, set[str]], dict[str, dict[str, float]]]:
    """Judgements, documents judged not relevant, and a run with equal scores and unjudged documents."""
    rng = np.random.default_rng(seed)
    documents = [f"d{i}" for i in range(120)]
    qrels, zeros, run = {}, {}, {}
    for number in range(30):
        chosen = [str(d) for d in rng.choice(documents, 25, replace=False)]
        query = f"q{number}"
        relevant = int(rng.integers(1, 10))
        qrels[query] = {d: int(rng.integers(1, 4)) for d in chosen[:relevant]}
        zeros[query] = set(chosen[relevant:])
        ranked = [str(d) for d in rng.permutation(documents)[: rng.integers(1, 120)]]
        run[query] = {d: float(round(len(ranked) - i, -1)) for i, d in enumerate(ranked)}
    return qrels, zeros, run


@pytest.mark.parametrize("seed", range(3))
def test_the_measures_of_the_base_are_those_of_ir_measures(seed: int) -> None:
    ir_measures = pytest.importorskip("ir_measures")
    qrels, zeros, run = graded(seed)
    ours = measured(NAMES, qrels, {query: list(ranking) for query, ranking in run.items()}, zeros)
    judged = {query: {**dict.fromkeys(zeros[query], 0), **grades} for query, grades in qrels.items()}
    scored = {query: {d: -float(rank) for rank, d in enumerate(ranking)} for query, ranking in run.items()}
    parsed = {str(name): name for name in map(ir_measures.parse_measure, THEIRS)}
    theirs: dict[str, dict[str, float]] = {name: {} for name in THEIRS}
    for value in ir_measures.iter_calc(list(parsed.values()), judged, scored):
        theirs[str(value.measure)][value.query_id] = value.value
    for our_name, their_name in zip(NAMES, THEIRS, strict=True):
        assert ours[our_name] == pytest.approx(theirs[their_name]), our_name


def test_other_measures_come_from_ir_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    qrels, run = {"q": {"x": 1, "y": 1}}, {"q": ["a", "x", "b", "y"]}
    values = measure(qrels, run, ["RR@10", "AP", "P@2"])
    assert [values.mean(name) for name in ("RR@10", "AP", "P@2")] == pytest.approx([1 / 2, (1 / 2 + 2 / 4) / 2, 1 / 2])
    monkeypatch.setitem(sys.modules, "ir_measures", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    check_measures(["nDCG@7", "hit@3", "R@5", "Judged@20"])
    assert measure(qrels, run).mean("nDCG@10") > 0, "the base needs no extra"
    with pytest.raises(MissingExtraError, match=r"osparse\[measures\]"):
        check_measures(["RR@10"])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["nDCG@ten"], "'nDCG@ten' is not a measure"),
        (["foo"], "'foo' is not a measure"),
        (["R@0"], "cutoff of R@0 must be from 1 to 9,999"),
        (["nDCG@10000"], "cutoff of nDCG@10000 must be from 1 to 9,999"),
        (["hit@1", "hit@1"], "names hit@1 twice"),
        ([], "at least one measure"),
    ],
)
def test_what_is_no_measure_is_refused(names: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_measures(names)


def test_documents_judged_not_relevant_count_as_judged() -> None:
    qrels, zeros = {"q": {"x": 1}}, {"q": {"n"}}
    values = measured(["Judged@10", "Judged@2"], qrels, {"q": ["u", "n", "x"]}, zeros)
    assert values == {"Judged@10": {"q": pytest.approx(2 / 3)}, "Judged@2": {"q": 0.5}}


@pytest.mark.parametrize("seed", range(3))
def test_trec_eval_reads_a_run_file_as_it_was_measured(seed: int, tmp_path: Path) -> None:
    """Equal scores are the trap: trec_eval orders them by falling id, osparse by rising id."""
    pytrec_eval = pytest.importorskip("pytrec_eval")
    qrels, zeros, run = graded(seed)
    from osparse.evaluation.measures import JudgedSet

    judged = JudgedSet("ko", "ko", {}, [], qrels, frozenset(), {q: frozenset(ids) for q, ids in zeros.items()})
    write_run(tmp_path / "a.run", [(judged, run)], "my system")
    with (tmp_path / "a.run").open() as file:
        theirs = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut_10", "success_1", "recall_100"}).evaluate(
            pytrec_eval.parse_run(file)
        )
    ours = measure(qrels, run)
    for name, theirs_name in (("nDCG@10", "ndcg_cut_10"), ("hit@1", "success_1"), ("R@100", "recall_100")):
        assert ours.per_query[name] == pytest.approx({q: values[theirs_name] for q, values in theirs.items()})
    back = read_run(tmp_path / "a.run")
    assert {q: list(ranking) for q, ranking in back.items()} == {q: list(ranking) for q, ranking in run.items()}


def test_run_and_qrels_files_of_an_evaluation(
    make_cluster: Make, dataset: Dataset, bundle: Bundle, tmp_path: Path
) -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval")
    folder, data = tmp_path / "runs", open_benchmark(dataset.path)
    report = evaluate(data, bundles=[bundle], baseline="bm25", save_runs=folder)
    assert sorted(path.name for path in folder.iterdir()) == ["bm25.run", "bundle-bundle.run", "qrels.txt"]
    # The runs hold both languages; each direction's share of them has the figures of the report.
    for name in ("bm25", "bundle bundle"):
        with (folder / f"{name.replace(' ', '-')}.run").open() as file:
            run = pytrec_eval.parse_run(file)
        for judged in data.sets:
            part = {q: {d: s for d, s in run.get(q, {}).items() if d in judged.document_ids} for q in judged.qrels}
            values = pytrec_eval.RelevanceEvaluator(judged.qrels, {"ndcg_cut_10"}).evaluate(part)
            (row,) = [r for r in report.rows if (r.direction, r.system, r.no_shared_word) ==
                      (judged.direction, name, False)]  # fmt: skip
            theirs = sum(value["ndcg_cut_10"] for value in values.values()) / len(judged.qrels)
            assert row.figures["nDCG@10"] == pytest.approx(theirs)
    again = evaluate(data, runs=sorted(folder.glob("*.run")))
    assert [row.figures for row in again.rows] == [row.figures for row in report.rows]
    assert read_qrels_file(folder / "qrels.txt").qrels["q:tide:ko"] == {"tide:en": 1, "tide:ko": 1}
    with pytest.raises(InputError, match=r"qrels.txt exists; pass `overwrite=True`"):
        evaluate(data, bundles=[bundle], save_runs=folder)


def test_several_systems_stand_in_one_table(dataset: Dataset, model: Model, bundle: Bundle) -> None:
    """A bundle is its model by another runtime, so the two have the same figures."""
    report = evaluate(dataset.path, models=[model, model.path], bundles=[bundle.path], baseline="bm25")
    names = ["bm25", "model model (1)", "model model (2)", "bundle bundle"]
    assert [system["name"] for system in report.systems] == names
    for direction in ("ko->ko", "en->ko"):
        rows = [row for row in report.rows if row.direction == direction and not row.no_shared_word]
        assert [row.system for row in rows] == names
        assert rows[1].figures == rows[2].figures
        assert rows[3].figures == pytest.approx(rows[1].figures, abs=0.05)
        assert [row.difference is None for row in rows] == [True, False, False, False]
    assert report.systems[3]["non_zeros"]["mean"] == pytest.approx(report.systems[1]["non_zeros"]["mean"], abs=0.5)
    assert "bm25 was computed in memory" in report.notes[0] and "model model (2)" in str(report)


def test_the_depth_follows_the_measures(make_cluster: Make, dataset: Dataset) -> None:
    cluster = make_cluster("client")
    evaluate(dataset.path, cluster=cluster, index="world", measures=["R@500"])
    sizes = {json.loads(line).get("size") for path, body in cluster.requests if path.endswith("_msearch")
             for line in body.splitlines()[1::2]}  # fmt: skip
    assert sizes == {501}


def test_bm25_in_memory_is_that_of_bm25s(dataset: Dataset) -> None:
    bm25s = pytest.importorskip("bm25s")
    texts = dict(dataset.documents.select("id", "text").collect().iter_rows())
    collection, theirs = Bm25Collection(texts), bm25s.BM25(method="lucene", k1=1.2, b=0.75)
    theirs.index([words(text) for text in texts.values()], show_progress=False)
    for query in ("the moon and the sea", "달은 한 달 동안", "Trams run on lines"):
        scores = theirs.get_scores(words(query))
        expected = {document: float(s) for document, s in zip(texts, scores, strict=True) if s > 0}
        assert dict(collection.search(query, 100)) == pytest.approx(expected, rel=1e-5)
    assert dict(collection.search("moon moon", 9)) == pytest.approx(
        {document: 2 * score for document, score in collection.search("moon", 9)}
    )
    assert collection.search("nowhere", 9) == []


@pytest.mark.parametrize(
    ("p_values", "expected"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # sorted .005 .01 .03 .04, times 4 3 2 1, made monotone
        ([0.5, 0.9], [1.0, 1.0]),
        ([0.02], [0.02]),
        ([], []),
    ],
)
def test_holm_by_hand(p_values: list[float], expected: list[float]) -> None:
    assert holm(p_values) == pytest.approx(expected)


def test_holm_rejects_what_the_step_down_procedure_rejects() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        p_values = list(rng.random(6) ** 3)
        rejected = set()
        for rank, i in enumerate(np.argsort(p_values)):  # the procedure as published
            if p_values[i] > 0.05 / (6 - rank):
                break
            rejected.add(int(i))
        assert {i for i, p in enumerate(holm(p_values)) if p <= 0.05} == rejected


def write_lines(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def run_lines(rankings: dict[str, list[str]]) -> list[str]:
    return [f"{q} Q0 {d} {rank} {-rank} t" for q, ids in rankings.items() for rank, d in enumerate(ids)]


def test_compare_tests_each_pair_as_scipy_does(tmp_path: Path) -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(1)
    queries = [f"q{i}" for i in range(11)]
    qrels = write_lines(tmp_path / "qrels.txt", [f"{q} 0 good 2" for q in queries] + ["q0 0 bad 0"])
    paths = []
    for name, low, high in (("a", 0, 3), ("b", 2, 9), ("c", 1, 5)):
        ranks = rng.integers(low, high, len(queries))
        rankings = {q: [*(f"x{i}" for i in range(r)), "good"] for q, r in zip(queries, ranks, strict=True)}
        paths.append(write_lines(tmp_path / f"{name}.run", run_lines(rankings)))
    comparison = compare(paths, qrels=qrels)
    assert [(pair.first, pair.second) for pair in comparison.pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    judged = read_qrels_file(qrels)
    values = {path.stem: measure(judged.qrels, read_run(path)).values("nDCG@10") for path in paths}
    for pair in comparison.pairs:
        exact = stats.permutation_test(
            (values[pair.second], values[pair.first]), lambda x, y: np.mean(x - y), permutation_type="samples",
            n_resamples=np.inf,
        )  # fmt: skip
        assert pair.difference == pytest.approx(exact.statistic)
        assert pair.p == pytest.approx(exact.pvalue, abs=4 * math.sqrt(0.25 / 10_000))
    assert [pair.p_adjusted for pair in comparison.pairs] == holm([pair.p for pair in comparison.pairs])
    assert "c - a" in str(comparison) and "all queries" in str(comparison)


def test_compare_takes_a_dataset_by_direction(dataset: Dataset, tmp_path: Path) -> None:
    for name, other in (("good", ""), ("bad", "pear")):
        rankings = {q: [d if not other else f"{other}:{d[-2:]}" for d in grades] for judged in judged_sets(dataset, "test")
                    for q, grades in judged.qrels.items()}  # fmt: skip
        write_lines(tmp_path / f"{name}.run", run_lines(rankings))
    comparison = compare([tmp_path / "bad.run", tmp_path / "good.run"], data=dataset.path)
    # The last set of a query wins in the dictionary above: rankings of one language each.
    ranked = [row for row in comparison.rows if row.system == "good" and not row.no_shared_word]
    assert {row.direction: row.figures["nDCG@10"] for row in ranked} == {
        "en->en": 0.0, "ko->ko": 0.0, "en->ko": 1.0, "ko->en": 1.0
    }  # fmt: skip
    assert any("may be unfair to bad" in note for note in comparison.notes)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["q Q0 d 1 0.5"], "x.run:1: expected query Q0 document rank score tag, found 5 columns"),
        (["q Q0 d 1 nan t"], "x.run:1: expected a finite number, got 'nan'"),
        (["q Q0 d 1 2 t", "q Q0 d 2 1 t"], "x.run:2: query q ranks document d twice"),
        (["other Q0 d 1 2 t"], "ranks none of the 1 judged queries"),
    ],
)
def test_a_run_that_cannot_be_used_is_refused(lines: list[str], message: str, tmp_path: Path) -> None:
    qrels = write_lines(tmp_path / "qrels.txt", ["query-id\tcorpus-id\tscore", "q\td\t1"])
    good = write_lines(tmp_path / "good.run", ["q Q0 d 1 2 t"])
    with pytest.raises(InputError, match=message):
        compare([good, write_lines(tmp_path / "x.run", lines)], qrels=qrels)


def test_a_run_is_read_as_trec_eval_reads_it(tmp_path: Path) -> None:
    """The rank column plays no part, and equal scores fall by document id."""
    path = write_lines(tmp_path / "x.run", ["q Q0 a 1 1 t", "q Q0 b 2 3 t", "q Q0 c 3 1 t"])
    assert list(read_run(path)["q"]) == ["b", "c", "a"]


def run_command(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    shown = capsys.readouterr()
    return int(stopped.value.code or 0), shown.out, shown.err


def test_the_commands(dataset: Dataset, bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, runs = str(dataset.path), tmp_path / "runs"
    code, out, _ = run_command(
        ["evaluate", "--dataset", data, "--bundle", str(bundle.path), "--baseline", "bm25", "--measures", "nDCG@5",
         "RR@10", "AP", "Judged@10", "--save-runs", str(runs), "--json"], capsys
    )  # fmt: skip
    report = json.loads(out)
    assert code == 0 and report["measures"] == ["nDCG@5", "RR@10", "AP", "Judged@10"]
    assert all(list(row["figures"]) == report["measures"] for row in report["rows"])
    code, out, _ = run_command(
        ["compare", str(runs / "bm25.run"), str(runs / "bundle-bundle.run"), "--dataset", data, "--json",
         "--measures", "AP", "hit@1"], capsys
    )  # fmt: skip
    pairs = json.loads(out)["pairs"]
    assert code == 0 and [pair["measure"] for pair in pairs] == ["AP", "hit@1"] * 4
    code, _, err = run_command(["evaluate", "--dataset", data], capsys)
    assert code == 2 and "nothing to measure: give --cluster with --index, --model, --bundle, --run or --base" in err
    code, _, err = run_command(["compare", str(runs / "bm25.run"), "--dataset", data], capsys)
    assert code == 2 and "at least 2 run files" in err
    code, _, err = run_command(
        ["evaluate", "--dataset", data, "--bundle", str(bundle.path), "--measures", "foo", "--json"], capsys
    )
    assert code == 2 and "'foo' is not a measure" in err


def test_a_query_without_an_answer_has_no_unjudged_documents(tmp_path: Path) -> None:
    qrels = write_lines(tmp_path / "qrels.txt", ["q 0 d 1", "r 0 d 1"])
    both = write_lines(tmp_path / "both.run", ["q Q0 d 1 1 t", "r Q0 d 1 1 t"])
    one = write_lines(tmp_path / "one.run", ["q Q0 d 1 1 t"])
    comparison = compare([both, one], qrels=qrels)
    assert [(row.judged10, row.answered) for row in comparison.rows] == [(1.0, 2), (0.5, 1)]
    assert comparison.notes == [], "whatever `one` returned was judged"


@pytest.mark.parametrize(("flag", "weights"), [([], "9 significant bits"), (["--full-precision"], "full precision")])
def test_full_precision_is_an_option(
    flag: list[str], weights: str, dataset: Dataset, bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", "--dataset", str(dataset.path), "--bundle", str(bundle.path), *flag, "--json"]
    code, out, _ = run_command(command, capsys)
    assert code == 0 and weights in json.loads(out)["systems"][0]["weights"]
