"""Measure a system and a baseline on judged queries, and show both in one HTML file."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from osparse.contracts.bundle import Bundle
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.client import Cluster
from osparse.errors import InputError
from osparse.evaluation.measures import MEASURES, Benchmark, open_benchmark
from osparse.evaluation.named_measures import check_measures
from osparse.io.files import require_free, write_atomic
from osparse.retrieval.evaluator import Rankings, measure_systems
from osparse.retrieval.html_report.baseline_words import HighlightedWords, SharedWords, WordMatcher
from osparse.retrieval.html_report.cards import Card, CardMaker
from osparse.retrieval.html_report.embedded import Embedded
from osparse.retrieval.html_report.load_test import read_load_test
from osparse.retrieval.html_report.outcomes import Outcome, most_lost, most_won, outcomes_of
from osparse.retrieval.html_report.page import Page, html_page
from osparse.retrieval.html_report.sections import Cost
from osparse.retrieval.html_report.weight_source import BundleWeights, ClusterWeights, IndexStatistics, WeightSource
from osparse.retrieval.report import Report
from osparse.retrieval.systems.cluster_bm25 import ClusterBm25
from osparse.retrieval.systems.cluster_index import ClusterIndex
from osparse.retrieval.systems.local_bm25 import LocalBm25
from osparse.retrieval.systems.memory import BundleSystem
from osparse.retrieval.systems.run_file import RunFile
from osparse.retrieval.systems.system import System
from osparse.retrieval.tuning.result.plan import TuningPlan

log = logging.getLogger("osparse.retrieval.html_report.make")

SHOWN = 10
"""Queries most lost, and most won."""
CARDS = 6_000
"""Queries that are looked at one by one, those with the largest difference first."""


@dataclass(frozen=True)
class WrittenPage:
    """What was written."""

    path: str
    bytes: int
    queries: int
    """In the page, over all directions."""
    evaluation: Report
    lost: list[dict[str, Any]]
    """The most lost queries, the largest loss first: id, text, direction, value, baseline, kind, reason."""
    won: list[dict[str, Any]]
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "evaluation": self.evaluation.to_json()}


def write_html_report(
    data: Benchmark | Path | str,
    output: Path | str,
    *,
    cluster: Cluster | None = None,
    index: str | None = None,
    bundle: Bundle | Path | str | None = None,
    baseline: Path | str = "bm25",
    measures: Sequence[str] = MEASURES,
    plan: Path | str | None = None,
    load_test: Path | str | None = None,
    overwrite: bool = False,
) -> WrittenPage:
    """Measure a deployed index, or a bundle in memory, beside a baseline, and write one HTML file without references.

        write_html_report("build/dataset", "report.html", cluster=cluster, index="products")
        write_html_report("build/dataset", "report.html", bundle="build/bundle")

    Args:
        data: A benchmark, a dataset directory or a BEIR folder; of the latter two the test split.
        cluster: Where ``index`` is.
        bundle: Without a cluster: what is measured, by its ONNX encoder. With one: the deployed bundle, which gives
            the weights before pruning where the cluster does not hold its ONNX encoder.
        baseline: "bm25", or a TREC run file.
        measures: As for :func:`osparse.retrieval.evaluate`; queries are won and lost by the first one.
        plan: ``plan.json`` of ``osparse tune``, or the folder that it is in.
        load_test: ``loadtest.json`` of a load test, or the folder that it is in.

    Raises:
        InputError: nothing to measure, an ``output`` that exists, a ``plan`` or ``load_test`` that is something else.
        ClusterError: see its text.
    """
    target = Path(output)
    if target.is_dir():
        raise InputError(f"{target} is a folder; `output` must be a file such as report.html")
    require_free(target, overwrite)
    check_measures(measures)
    tuning = _plan(plan)
    load = read_load_test(Path(load_test)) if load_test is not None else []
    benchmark = data if isinstance(data, Benchmark) else open_benchmark(data)
    opened = bundle if bundle is None or isinstance(bundle, Bundle) else Bundle.open(bundle)
    system = _system(cluster, index, opened, benchmark)
    reference = _baseline(baseline, system, benchmark)
    runs: Rankings = {}
    report = measure_systems(benchmark, [reference, system], measures, {}, runs)
    outcomes = [
        outcome
        for (judged, run), (_, other) in zip(runs[system.name], runs[reference.name], strict=True)
        for outcome in outcomes_of(judged, run, other, measures[0])
    ]
    source = _source(system, opened)
    maker = CardMaker(benchmark, source, _matcher(reference), source.unpruned())
    lost, won = most_lost(outcomes, SHOWN), most_won(outcomes, SHOWN)
    chosen = _ordered(outcomes, lost, won)
    cards = list[Card]()
    embedded = Embedded(list(dict.fromkeys(outcome.direction for outcome in outcomes)))
    for card in maker.cards(chosen, full=len(lost) + len(won)):
        embedded.add([card])
        cards += [card] if len(cards) < len(lost) + len(won) else []
    statistics = source.statistics()
    notes = [*report.notes, *_notes(system, maker, embedded, len(outcomes) - len(chosen))]
    page = Page(
        report=report,
        system=system.name,
        outcomes=outcomes,
        embedded=embedded,
        lost=len(lost),
        won=len(won),
        statistics=statistics,
        costs=_costs(report, statistics, source, outcomes, reference),
        load=load,
        plan=tuning,
        notes=notes,
    )
    text = html_page(page)
    write_atomic(target, text)
    shown = [_summary(card) for card in cards]
    return WrittenPage(
        str(target), len(text.encode()), len(embedded.queries), report, shown[: len(lost)], shown[len(lost) :], notes
    )


def _plan(path: Path | str | None) -> TuningPlan | None:
    if path is None:
        return None
    return TuningPlan.open(Path(path) / "plan.json" if Path(path).is_dir() else Path(path))


def _system(
    cluster: Cluster | None, index: str | None, bundle: Bundle | None, data: Benchmark
) -> ClusterIndex | BundleSystem:
    if (cluster is None) != (index is None):
        missing, given = ("`index`", "`cluster`") if index is None else ("`cluster`", "`index`")
        raise InputError(f"{given} needs {missing}: the name the index was deployed under, and the cluster it is on")
    if cluster is not None and index is not None:
        system = ClusterIndex(cluster, index, data)
        system.searcher.check_one_field("the page of a report")
        return system
    if bundle is None:
        raise InputError("there is nothing to measure: give `cluster` with `index`, or `bundle`")
    return BundleSystem(bundle)


def _baseline(name: Path | str, system: ClusterIndex | BundleSystem, data: Benchmark) -> System:
    if name == "bm25":
        return ClusterBm25(system.cluster, system.index, data) if isinstance(system, ClusterIndex) else LocalBm25()
    if not Path(name).is_file():
        raise InputError(f"`baseline` must be bm25 or a TREC run file, got {str(name)!r}")
    run = RunFile(Path(name))
    run.check_queries(data.sets)
    run.name = f"run {run.name}" if run.name == system.name else run.name
    return run


def _source(system: ClusterIndex | BundleSystem, bundle: Bundle | None) -> WeightSource:
    return ClusterWeights(system, bundle) if isinstance(system, ClusterIndex) else BundleWeights(system)


def _matcher(baseline: System) -> WordMatcher:
    return HighlightedWords(baseline) if isinstance(baseline, ClusterBm25) else SharedWords()


def _ordered(outcomes: Sequence[Outcome], lost: Sequence[Outcome], won: Sequence[Outcome]) -> list[Outcome]:
    """The most lost, the most won, then the others by falling difference; :data:`CARDS` at most."""
    first = {id(outcome) for outcome in (*lost, *won)}
    others = sorted((o for o in outcomes if id(o) not in first), key=lambda o: (-abs(o.gain), o.id))
    return [*lost, *won, *others][: max(CARDS, len(first))]


def _costs(
    report: Report,
    statistics: IndexStatistics,
    source: WeightSource,
    outcomes: Sequence[Outcome],
    baseline: System,
) -> list[Cost]:
    queries = dict.fromkeys(outcome.text for outcome in outcomes)
    lists = statistics.posting_lists
    postings = sum(lists.get(token, 0) for text in queries for token in source.query(text))
    flops = postings / len(queries) / max(1, statistics.documents)
    first, second = report.systems
    times = [described.get("latency_ms", {}) for described in (first, second)]
    mean = float(statistics.non_zeros.mean()) if statistics.documents else 0.0
    return [
        Cost(first["name"], _bytes(baseline), None, None, times[0]),
        Cost(second["name"], statistics.bytes, flops, mean, times[1]),
    ]


def _bytes(baseline: System) -> int | None:
    if not isinstance(baseline, ClusterBm25):
        return None
    return sum(ClusterApi(baseline.cluster).store_size(name) for name in baseline.indices.values())


def _notes(system: System, maker: CardMaker, embedded: Embedded, not_looked_at: int) -> list[str]:
    notes = []
    if maker.encoder is None:
        notes.append(
            "the weights before pruning are not known, as only the cluster has the encoder: pass `bundle`, the "
            "deployed bundle with its ONNX encoder"
        )
    if isinstance(system, ClusterIndex) and not system.searcher.setting.is_plain_query:
        notes.append(
            f"the index is searched with {system.searcher.setting}: scores are not the sums of the tokens shown here"
        )
    if embedded.without_hits:
        notes.append(f"{embedded.without_hits:,} queries are listed without their hits, to keep the file small")
    if left_out := embedded.left_out + not_looked_at:
        notes.append(f"{left_out:,} queries with small differences are not in the page, to keep the file small")
    return notes


def _summary(card: Card) -> dict[str, Any]:
    outcome, reason = card.outcome, card.reason
    return {
        "id": outcome.id,
        "text": outcome.text,
        "direction": outcome.direction,
        "value": outcome.value,
        "baseline": outcome.baseline_value,
        "kind": reason.kind if reason is not None else "",
        "reason": reason.text if reason is not None else "",
    }
