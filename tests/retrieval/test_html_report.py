"""What osparse report writes: figures, reasons and tokens against other ways to compute them; limits and escaping."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import report_world
import world
from mlcommons_server import mlcommons_server

from osparse.cli.main import main
from osparse.contracts.bundle import Bundle
from osparse.contracts.dataset import Dataset
from osparse.contracts.model import Model
from osparse.deployer import deploy, index_documents, open_cluster
from osparse.encoders.onnx_encoder import open_query_encoder
from osparse.encoders.onnx_unpruned import UnprunedEncoder
from osparse.errors import InputError
from osparse.evaluation.exact_search import InvertedIndex
from osparse.evaluation.measures import open_benchmark
from osparse.retrieval import WrittenPage, evaluate, explain, write_html_report
from osparse.retrieval.html_report import charts
from osparse.retrieval.html_report.cards import Card, Document
from osparse.retrieval.html_report.embedded import Embedded
from osparse.retrieval.html_report.load_test import read_load_test
from osparse.retrieval.html_report.outcomes import Outcome, most_lost, most_won
from osparse.retrieval.html_report.reasons import why_lost, why_won
from osparse.retrieval.html_report.sections import headline
from osparse.retrieval.html_report.weight_source import IndexStatistics, WeightSource

Make = Callable[[str], Any]


@pytest.fixture(autouse=True)
def one_encoding() -> None:
    """Here the bundle encodes, not the model."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return report_world.make_report_dataset(tmp_path_factory.mktemp("data") / "dataset")


@pytest.fixture(scope="module")
def page(data: Dataset, bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> tuple[WrittenPage, str]:
    path = tmp_path_factory.mktemp("page") / "report.html"
    written = write_html_report(data.path, path, bundle=bundle.path)
    return written, path.read_text(encoding="utf-8")


def embedded(text: str) -> dict[str, Any]:
    (content,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    return dict(json.loads(content))


def test_the_figures_are_those_of_evaluate(page: tuple[WrittenPage, str], data: Dataset, bundle: Bundle) -> None:
    written, text = page
    report = evaluate(data.path, bundles=[bundle.path], baseline="bm25")
    assert written.evaluation.rows == report.rows
    content = embedded(text)
    for row in (row for row in report.rows if row.whole):
        side = int(row.system == "bm25")
        values = [
            q["values"][side] for q in content["queries"] if content["directions"][q["direction"]] == row.direction
        ]
        assert len(values) == row.queries and np.mean(values) == pytest.approx(row.figures["nDCG@10"], abs=1e-3)
        assert f"{row.figures['nDCG@10']:.3f} \u00b1{row.margin:.3f}" in text
    assert written.queries == len(report_world.QUERIES) and written.bytes == len(text.encode()) < 5_000_000


def test_the_headline_says_what_the_tests_of_significance_say(page: tuple[WrittenPage, str]) -> None:
    written, _ = page
    (row, *_) = [row for row in written.evaluation.rows if row.difference is not None and row.whole]
    for gain, p, words in ((0.25, 0.01, "better in"), (-0.25, 0.049, "worse in"), (0.25, 0.05, "not different beyond")):
        difference = replace(row.difference, gain=gain, p_adjusted=p)  # type: ignore[type-var]
        report = replace(written.evaluation, rows=[replace(row, difference=difference)])
        text = headline(report, row.system)
        assert words in text and f"{html.escape(row.direction)} ({gain:+.3f})" in text and text.count(" in ") == 1


def test_no_text_is_read_as_markup_and_nothing_is_loaded(page: tuple[WrittenPage, str]) -> None:
    _, text = page
    assert text.count("</script>") == 2 and "<img" not in text
    assert "default-src 'none'" in text
    shown = [query["text"] for query in embedded(text)["queries"]]
    assert report_world.HOSTILE in shown and "배나무 키우기" in shown
    assert not re.search(r"""(src|href)=["']?(https?:)?//|@import|url\(""", text)


def test_names_from_outside_are_escaped(data: Dataset, bundle: Bundle, tmp_path: Path) -> None:
    benchmark = replace(open_benchmark(data.path), name='<b onclick="x">$title')
    write_html_report(benchmark, tmp_path / "r.html", bundle=bundle)
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "<b onclick" not in text and html.escape(benchmark.name) in text


def test_tokens_are_those_of_explain_and_a_bundle_shows_what_its_index_shows(
    page: tuple[WrittenPage, str], data: Dataset, bundle: Bundle, tmp_path: Path
) -> None:
    with mlcommons_server(plugins=()) as server:
        cluster = open_cluster(server.url)
        deploy(bundle, cluster, "products", mode="client")
        assert index_documents(cluster, "products", [data.path]).failed == 0
        run = tmp_path / "nothing.run"
        run.write_text("q:rain Q0 tide:en 1 1.0 x\n")
        written = write_html_report(
            data.path, tmp_path / "served.html", cluster=cluster, index="products", baseline=run
        )
        served = embedded((tmp_path / "served.html").read_text(encoding="utf-8"))
        local = embedded(page[1])
        assert hits(served) == hits(local) and any(hits(local).values())
        assert written.evaluation.systems[0]["kind"] == "run"
        for query in served["queries"]:
            for document, score, _, _, _, matched, _, _ in query["hits"]:
                name = served["documents"][document][0]
                explanation = explain(cluster, "products", name, query["text"])
                assert score == pytest.approx(explanation.score, rel=1e-3)
                expected = [(m.token, m.token in explanation.literal) for m in explanation.matched]
                assert [(served["tokens"][t], bool(own)) for t, _, own in matched] == expected[:10]
        statistics = [
            re.search(r"<p>([^<]*weights on[^<]*)</p>", text)
            for text in (page[1], (tmp_path / "served.html").read_text())
        ]
        assert statistics[0] and statistics[1] and statistics[0][1] == statistics[1][1]


def hits(content: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Query -> (document, matched tokens) of its hits."""
    return {
        query["id"]: [(content["documents"][hit[0]][0], [content["tokens"][t] for t, _, _ in hit[5]]) for hit in query["hits"]]
        for query in content["queries"]
    }  # fmt: skip


class Weights(WeightSource):
    """Weights given in the test."""

    def __init__(
        self, model: Model, bundle: Bundle, documents: dict[str, dict[str, float]], langs: dict[str, str]
    ) -> None:
        self.encoder = open_query_encoder(bundle.zip_path("tokenizer"))
        self._documents, self._langs = documents, langs

    def query(self, text: str) -> dict[str, float]:
        return self.encoder.encode(text)

    def load(self, ids: frozenset[str]) -> None:
        pass

    def document(self, document_id: str, query: Mapping[str, float]) -> dict[str, float] | None:
        return self._documents.get(document_id)

    def language(self, document_id: str) -> str | None:
        return self._langs.get(document_id)

    def statistics(self) -> IndexStatistics:
        raise NotImplementedError

    def unpruned(self) -> UnprunedEncoder | None:
        return None


def lost(text: str, ranking: list[str], baseline: list[str]) -> Outcome:
    pairs = [[(name, 9.0 - place) for place, name in enumerate(names)] for names in (ranking, baseline)]
    return Outcome("q", text, "en->en", "en", {"answer": 1}, 0.0, 1.0, pairs[0], pairs[1])


@pytest.fixture
def first_token(model: Model, bundle: Bundle) -> str:
    return next(iter(open_query_encoder(bundle.zip_path("tokenizer")).encode("moon")))


@pytest.mark.parametrize(
    ("text", "answer", "lang", "kind", "words"),
    [
        ("moon", None, None, "not indexed", "is not in the index"),
        ("", {"x": 1.0}, None, "no known token", "No token of the query is in the vocabulary"),
        ("moon", {"TOKEN": 1.0}, "ko", "filtered", "asks for language en, the index has ko"),
        ("moon", {"x": 1.0}, "en", "no shared token", "shares no token with the query"),
        ("moon", {"TOKEN": 0.5}, None, "outranked", "is ranked 2nd; the baseline ranks it 1st"),
    ],
)
def test_the_reason_of_a_loss(
    text: str, answer: dict[str, float] | None, lang: str | None, kind: str, words: str, first_token: str,
    model: Model, bundle: Bundle,
) -> None:  # fmt: skip
    documents = {"first": {first_token: 2.0}}
    if answer is not None:
        documents["answer"] = {first_token if token == "TOKEN" else token: weight for token, weight in answer.items()}
    source = Weights(model, bundle, documents, {} if lang is None else {"answer": lang})
    reason = why_lost(lost(text, ["first", "answer"], ["answer"]), source, {}, None)
    assert reason.kind == kind and words in reason.text and reason.answer == "answer"


def test_the_contrast_is_the_difference_of_the_scores(first_token: str, model: Model, bundle: Bundle) -> None:
    query = open_query_encoder(bundle.zip_path("tokenizer")).encode("moon bees")
    documents = {"first": dict.fromkeys(query, 2.0), "answer": {first_token: 0.5}}
    source = Weights(model, bundle, documents, {})
    reason = why_lost(lost("moon bees", ["first", "answer"], ["answer"]), source, {}, None)
    scores = {name: sum(w * vector.get(t, 0.0) for t, w in query.items()) for name, vector in documents.items()}
    assert sum(part for _, part in reason.contrast) == pytest.approx(scores["first"] - scores["answer"])
    assert {needed.token for needed in reason.needed} == query.keys() - {first_token}


def test_a_loss_by_the_part_that_was_cut_and_by_pruning(model: Model, bundle: Bundle, first_token: str) -> None:
    encoder = UnprunedEncoder(bundle.zip_path("onnx"))
    source = Weights(model, bundle, {"answer": {"x": 1.0}, "first": {first_token: 1.0}}, {})
    outcome = lost("moon", ["first"], ["answer"])
    cut = why_lost(outcome, source, {"answer": "bees " * 200 + "moon"}, encoder)
    assert cut.kind == "cut" and cut.cut is not None and cut.cut.lost_text.endswith("moon")
    assert first_token in cut.text
    text = world.RECORDS[4][4]
    whole = why_lost(
        outcome, source, {"answer": text}, encoder
    )  # the encoder still cuts, and so reads this text as before
    weights = encoder.encode(text)
    (needed,) = [needed for needed in whole.needed if needed.token == first_token]
    assert needed.weight == pytest.approx(float(weights[model.lexicon.id_of[first_token]]))
    again = why_lost(outcome, source, {"answer": "bees " * 200 + "moon"}, encoder)
    assert again.cut == cut.cut, "the tokenizer is left as it was"


def test_the_reason_of_a_gain_names_expansions_and_words(first_token: str, model: Model, bundle: Bundle) -> None:
    source = Weights(model, bundle, {"answer": {first_token: 1.0}}, {})
    outcome = replace(lost("moon", ["answer"], ["first"]), value=1.0, baseline_value=0.0)
    by_expansion = why_won(outcome, source, frozenset(), [])
    assert (
        f"by expansion to \u201c{first_token}\u201d" in by_expansion.text and "no word in common" in by_expansion.text
    )
    by_text = why_won(outcome, source, frozenset({first_token}), ["night"])
    assert "of its own text" in by_text.text and "although it shares \u201cnight\u201d" in by_text.text


def test_the_most_lost_and_won_are_sorted_and_exclude_ties() -> None:
    base = lost("x", ["a"], ["answer"])
    gains = [0.3, -1.0, 0.0, -0.2, 1.0]
    outcomes = [replace(base, id=str(n), value=max(g, 0.0), baseline_value=max(-g, 0.0)) for n, g in enumerate(gains)]
    assert [outcome.id for outcome in most_lost(outcomes, 10)] == ["1", "3"]
    assert [outcome.id for outcome in most_won(outcomes, 1)] == ["4"]
    deeper = replace(base, id="9", baseline_value=1.0, ranking=[("a", 2.0), ("b", 1.0)])
    assert [outcome.id for outcome in most_lost([outcomes[1], deeper], 1)] == ["9"], "the answer is found later"


def make_card(number: int, length: int) -> Card:
    text = f"<{number}>" + "\ub2ec" * length
    outcome = replace(lost(text, ["a"], ["b"]), id=f"q{number}")
    document = Document(f"d{number}", "ko", text, 1.5, 0, 1, None, [(f"t{number}", 0.5, True)], [text[:9]])
    return Card(outcome, {f"t{number}": 1.0}, [document], [document], [document], None)


@pytest.mark.parametrize("limit", [60_000, 200_000, 10_000_000])
def test_the_data_stays_below_its_limit_and_the_first_queries_stay_whole(limit: int) -> None:
    data = Embedded(["en->en"], limit)
    data.add(make_card(number, 150) for number in range(400))
    text = data.to_json({})
    assert len(text.encode()) <= limit and "<" not in text
    content = json.loads(text)
    whole = ["hits" in query for query in content["queries"]]
    assert whole == sorted(whole, reverse=True) and whole[0]
    assert whole.count(False) == data.without_hits and len(whole) + data.left_out == 400
    assert (data.without_hits + data.left_out == 0) == (limit == 10_000_000)
    first = content["queries"][0]
    assert first["text"].startswith("<0>") and content["documents"][first["hits"][0][0]][0] == "d0"


def test_an_inverted_index_gives_its_vectors_back() -> None:
    generator = np.random.default_rng(3)
    weights = (generator.random((5, 7)) * (generator.random((5, 7)) > 0.5)).astype(np.float32)
    index = InvertedIndex()
    index.add(list("ecadb"), weights)
    vectors = index.vectors(["a", "e", "nowhere"])
    assert set(vectors) == {"a", "e"}
    for name in vectors:
        row = weights["ecadb".index(name)]
        assert vectors[name] == {int(i): float(row[i]) for i in np.flatnonzero(row)}


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.0, 7.3), (3.0, 1234.0), (-0.02, 0.05), (155.0, 201.0)])
def test_ticks_are_round_numbers_within(low: float, high: float) -> None:
    marks = charts.ticks(low, high)
    steps = np.diff(marks)
    assert 2 <= len(marks) <= 7 and low - 1e-9 <= marks[0] and marks[-1] <= high + 1e-9
    assert np.allclose(steps, steps[0]) and float(f"{steps[0]:.1g}") == pytest.approx(steps[0])


def test_a_histogram_counts_every_document() -> None:
    sizes = np.random.default_rng(1).integers(5, 300, 1000)
    counts = [
        int(n.replace(",", ""))
        for n in re.findall(r"<title>[^:]*: ([\d,]+)</title>", charts.histogram(sizes, "x", "y"))
    ]
    assert sum(counts) == 1000
    assert charts.histogram(np.array([4, 4, 4]), "x", "y").count("<rect") == 1


def test_labels_of_charts_are_escaped() -> None:
    for chart in (charts.bars([("<b>", 1.0, "<i>")], "<u>"), charts.lines({"<b>": [(1.0, 2.0)]}, "<i>", "<u>"),
                  charts.intervals([("<b>", [(0.5, 0.1)])], ["<i>"], "<u>")):  # fmt: skip
        assert not re.search("<[biu]>", chart)


LOAD = {"rows": [{"system": "bm25", "clients": 1, "percentiles": {"p50": 2.0, "p99": 5.0, "p99.9": None}, "throughput": 9.5},
                 {"system": "sparse", "clients": 10, "percentiles": {"p50": 3.0}, "failed": 2, "unsent": 1}]}  # fmt: skip


def test_a_load_test_is_read_and_shown(data: Dataset, bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "loadtest.json").write_text(json.dumps(LOAD))
    first, second = read_load_test(tmp_path)
    assert first.percentiles == {"p50": 2.0, "p99": 5.0} and second.errors == 3 and second.throughput is None
    write_html_report(data.path, tmp_path / "r.html", bundle=bundle, load_test=tmp_path / "loadtest.json")
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert 'id="latency"' in text and "bm25: 2 at 1" in text and 'href="#latency"' in text
    assert 'id="settings"' not in text and 'href="#settings"' not in text
    (tmp_path / "other.json").write_text('{"rows": []}')
    with pytest.raises(InputError, match="is not the result of a load test"):
        read_load_test(tmp_path / "other.json")


def test_what_cannot_be_shown_is_said(data: Dataset, bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to measure: give `cluster` with `index`, or `bundle`"):
        write_html_report(data.path, tmp_path / "r.html")
    with pytest.raises(InputError, match="`index` needs `cluster`"):
        write_html_report(data.path, tmp_path / "r.html", index="products", bundle=bundle)
    with pytest.raises(InputError, match="`baseline` must be bm25 or a TREC run file, got 'bm26'"):
        write_html_report(data.path, tmp_path / "r.html", bundle=bundle, baseline="bm26")
    (tmp_path / "there.html").write_text("mine")
    with pytest.raises(InputError, match="exists; pass `overwrite=True` to replace it"):
        write_html_report(data.path, tmp_path / "there.html", bundle=bundle)
    assert (tmp_path / "there.html").read_text() == "mine"


def test_the_command(data: Dataset, bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "report.html"
    command = ["report", "--dataset", str(data.path), "--bundle", str(bundle.path), "--output", str(output)]
    with pytest.raises(SystemExit) as stopped:
        main([*command, "--json"])
    result = json.loads(capsys.readouterr().out)
    assert not stopped.value.code and result["bytes"] == output.stat().st_size
    assert all(query["value"] < query["baseline"] and query["reason"] for query in result["lost"])
    with pytest.raises(SystemExit) as stopped:
        main(command)
    assert stopped.value.code == 2 and "--overwrite" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*command, "--overwrite"])
    assert str(output) in capsys.readouterr().out
