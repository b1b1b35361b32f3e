"""What feedback adds: nDCG@10 of models searched with and without it, and what it costs.

    python benchmarks/feedback.py --model start=MODEL --model trained=MODEL2 --on build/quickstart/dataset:test
        [--on build/quality/gnome-dataset:train,validation,test] [--feedback documents=3,share=0.2]
        [--cluster http://127.0.0.1:9210 --index quickstart]

Documents are encoded once for each model and ground (kept under ``--build``), rounded as an index rounds them, and
searched exactly. The first model without feedback is what the others are compared with: paired randomisation over the
queries of a direction, with Holm's correction over its systems. With ``--cluster`` the queries of the first ground are
also asked there, with and without feedback in turns.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from osparse.contracts.model import Model
from osparse.deployer import open_cluster
from osparse.evaluation.encoder_pair import encoder_pair
from osparse.evaluation.exact_search import paired_randomisation_test
from osparse.evaluation.measures import NDCG, Benchmark, Measures, measure, open_benchmark
from osparse.evaluation.significance import holm
from osparse.retrieval import Searcher
from osparse.retrieval.serving.settings import Feedback, Setting
from osparse.retrieval.tuning.offline.simulate import SimulatedIndex
from osparse.retrieval.tuning.offline.stored import StoredVectors

Table = dict[str, dict[str, Measures]]
"""System -> direction -> measures."""
DEPTH = 11
WARM_UP = 20
"""Searches whose times are not counted."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", required=True, metavar="NAME=FOLDER")
    parser.add_argument("--on", action="append", required=True, metavar="DATASET:SPLIT,...")
    parser.add_argument("--feedback", type=Feedback.parse, default=Feedback())
    parser.add_argument("--build", type=Path, default=Path("build/feedback"))
    parser.add_argument("--cluster")
    parser.add_argument("--index")
    given = parser.parse_args()
    models = {name: Model.open(folder) for name, _, folder in (text.partition("=") for text in given.model)}
    grounds = [ground for text in given.on for ground in [list(splits(text))]]
    for ground in grounds:
        show(ground, *measured(models, ground, given.feedback, given.build))
    if given.cluster:
        texts = [text for judged in grounds[0][0].sets for text in judged.queries.values()]
        show_times(Searcher(open_cluster(given.cluster), given.index), given.feedback, texts)


def splits(text: str) -> Iterator[Benchmark]:
    folder, _, names = text.partition(":")
    yield from (open_benchmark(folder, name) for name in (names or "test").split(","))


def measured(
    models: dict[str, Model], ground: list[Benchmark], feedback: Feedback, build: Path
) -> tuple[Table, dict[str, float]]:
    """The measures, and the mean postings that a search of each system reads."""
    table, postings = Table(), dict[str, float]()
    for name, model in models.items():
        index = SimulatedIndex(stored(model, ground[0], build), encoder_pair(model).queries)
        for system, setting in ((name, Setting()), (f"{name}, feedback", Setting(feedback=feedback))):
            table[system] = directions(index, setting, ground)
            texts = [text for data in ground for judged in data.sets for text in judged.queries.values()]
            postings[system] = float(np.mean([index.postings_of(text, setting) for text in dict.fromkeys(texts)]))
    return table, postings


def directions(index: SimulatedIndex, setting: Setting, ground: list[Benchmark]) -> dict[str, Measures]:
    qrels: dict[str, dict[str, dict[str, int]]] = {}
    runs: dict[str, dict[str, dict[str, float]]] = {}
    for judged in (judged for data in ground for judged in data.sets):
        ranked = {q: index.ranking(text, setting, judged.document_lang, DEPTH) for q, text in judged.queries.items()}
        qrels.setdefault(judged.direction, {}).update(judged.qrels)
        runs.setdefault(judged.direction, {}).update(ranked)
    return {direction: measure(qrels[direction], runs[direction], [NDCG]) for direction in runs}


def stored(model: Model, data: Benchmark, build: Path) -> StoredVectors:
    """All documents, encoded; read from ``build`` if they were before."""
    file = build / f"{model.fingerprint[:16]}-{data.fingerprint[:16]}.npz"
    if not file.is_file():
        build.mkdir(parents=True, exist_ok=True)
        np.savez(file, **encoded(model, data))
    found = np.load(file)
    return StoredVectors(tuple(found["ids"].tolist()), *(found[part] for part in ("langs", "rows", "tokens", "values")))


def encoded(model: Model, data: Benchmark) -> dict[str, np.ndarray]:
    texts = sorted(row for batch in data.texts() for row in batch)
    documents = encoder_pair(model).documents
    parts = []
    for rows, weights in documents.batches([text for _, text, _ in texts]):
        row, token = np.nonzero(weights)
        parts.append((np.array(rows)[row], token, weights[row, token]))
    rows, tokens, values = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = np.lexsort((-values, rows))
    return {
        "ids": np.array([name for name, _, _ in texts]), "langs": np.array([lang for _, _, lang in texts]),
        "rows": rows[order], "tokens": tokens[order], "values": values[order],
    }  # fmt: skip


def show(ground: list[Benchmark], table: Table, postings: dict[str, float]) -> None:
    first = next(iter(table))
    names = list(table[first])
    print(f"\n{ground[0].name}, {len(table[first])} directions, {sum(ground[0].languages.values()):,} documents\n")
    print("| nDCG@10, gain, p | " + " | ".join(f"{d} ({table[first][d].queries})" for d in names) + " | postings |")
    print("|---" * (len(names) + 2) + "|")
    others = [system for system in table if system != first]
    p = {direction: p_values(table, first, others, direction) for direction in names}
    for system, row in table.items():
        cells = []
        for d in names:
            cell = f"{row[d].mean(NDCG):.3f}"
            if system != first:
                cell += f", {row[d].mean(NDCG) - table[first][d].mean(NDCG):+.3f}, {p[d][system]:.4f}"
            cells.append(cell)
        print(f"| {system} | {' | '.join(cells)} | {postings[system]:,.0f} |")


def p_values(table: Table, first: str, others: list[str], direction: str) -> dict[str, float]:
    values = {system: table[system][direction].values(NDCG) for system in (first, *others)}
    raw = [paired_randomisation_test(values[system], values[first]) for system in others]
    return dict(zip(others, holm(raw), strict=True))


def show_times(searcher: Searcher, feedback: Feedback, texts: list[str], most: int = 400) -> None:
    asked = Searcher(searcher.cluster, searcher.index, feedback=feedback)
    times: dict[str, list[float]] = {"plain": [], str(feedback): []}
    for number, text in enumerate(texts[:: max(1, len(texts) // most)]):
        for name, each in zip(times, (searcher, asked), strict=True):
            started = time.perf_counter()
            each.search(text)
            if number >= WARM_UP:
                times[name].append(1000 * (time.perf_counter() - started))
    print("\n| search | P50 ms | P95 ms |\n|---|---|---|")
    for name, row in times.items():
        print(f"| {name} | {np.percentile(row, 50):.1f} | {np.percentile(row, 95):.1f} |")


if __name__ == "__main__":
    main()
