"""The quality table on deb-koen: a model beside every opponent worth having, on the 736 test queries.

    python benchmarks/quality.py                                         # make dataset, tokenizer, IDF, models; measure
    python benchmarks/quality.py --model MODEL --chosen-with MODEL       # measure models that are there

Opponents: BM25 over words, over Hangul bigrams and over the model's own pieces, OpenSearch's BM25 with the best
analyzers of the local node (nori, english), and BM25 on pieces with the query expanded by an IBM-1 dictionary of the
training titles, or of titles and descriptions. Beside the model: OpenSearch BM25 + model.

Everything that is tuned is tuned on validation queries, with a model that did not learn from them (--chosen-with); the
model that is measured on the test queries is trained by the same configuration on the validation split too.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import numpy as np
import polars as pl
from lexical import Bm25, Dictionary, Scores, Tables, bigrams, words
from numpy.typing import NDArray

from osparse.contracts.dataset import Dataset
from osparse.contracts.model import Model
from osparse.deployer.cluster.api import ndjson
from osparse.deployer.cluster.client import Cluster
from osparse.deployer.node.node import node_down, node_status, node_up
from osparse.evaluation.exact_search import InvertedIndex, paired_randomisation_test
from osparse.evaluation.measures import NDCG, RUN_DEPTH, Benchmark, JudgedSet, Measures, measure, open_benchmark
from osparse.formula.lexicon import load_tokenizer
from osparse.formula.query_encoder import QueryEncoder
from osparse.io.files import pretty_json, write_atomic
from osparse.opensearch_templates import render
from osparse.retrieval.systems.cluster_bm25 import prepare_bm25
from osparse.retrieval.systems.memory import encode_corpus

System = Callable[[JudgedSet], Scores]
Table = dict[str, dict[str, Measures]]
"""System -> direction -> measures; a direction's queries without a shared word are a direction of their own."""
Aligned = dict[tuple[str, str], list[tuple[str, str]]]
"""(query language, document language) -> texts that say the same in both."""
DEEP = 200
"""Documents of OpenSearch that take part in the hybrid."""
SHARES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Weights tried for a translation in the dictionary."""
MIXES = tuple(np.round(np.arange(0.1, 1.0, 0.1), 1).tolist())
"""Shares of the model tried in the hybrid."""
TARGETS = {"ko->ko": 0.78, "en->en": 0.80, "ko->en": 0.73, "ko->en, no shared word": 0.55, "en->ko": 0.73}
CONFIG = Path(__file__).resolve().parents[1] / "configs" / "quality.yaml"
ROUNDS = 10_000
BATCH = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a model directory; without it two are trained")
    parser.add_argument("--chosen-with", type=Path, help="the model to tune the hybrid with; by default --model itself")
    parser.add_argument("--dataset", type=Path, help="deb-koen, by default BUILD/dataset, made where it is missing")
    parser.add_argument("--build", type=Path, default=Path("build/quality"), help="where everything made here lies")
    parser.add_argument("--split", choices=("test", "validation"), default="test")
    parser.add_argument("--non-zeros", type=float, default=120.0, help="at most so many per document on average")
    parser.add_argument("--output", type=Path, help="also keep the figures as JSON")
    given = parser.parse_args()
    trained = None
    if given.dataset is None:
        given.dataset = given.build / "dataset"
        osparse("corpus", "build", "--source", "debian", "--output", given.dataset)
    if given.model is None:
        given.model, given.chosen_with, trained = train(given.build, given.dataset)
    model, chosen_with = Model.open(given.model), Model.open(given.chosen_with or given.model)
    if chosen_with.metrics.get("trained_on"):
        parser.error(f"{chosen_with.path} learnt from the validation split; give --chosen-with a model that did not")
    validation, test = open_benchmark(given.dataset, "validation"), open_benchmark(given.dataset, given.split)
    print(f"{given.model} on {given.dataset} ({given.split}); targets at most {given.non_zeros:g} non-zeros\n")
    with local_node(given.build / "node") as cluster:
        systems, sizes = opponents(model, Dataset.open(given.dataset), validation, cluster)
        table = {name: measures(system, test) for name, system in systems.items()}
        mixes = tuned_mixes(systems["OpenSearch BM25"], remembered(ModelScores.of(chosen_with, validation)), validation)
        table["hybrid"] = measures(hybrid(systems["OpenSearch BM25"], systems["model"], mixes), test)
    lines = [*show(table), "", *compare(table), "", f"hybrid: share of the model by direction: {mixes}"]
    lines.append(f"non-zeros per document: mean {sizes.mean():.1f}, max {sizes.max()}")
    if trained:
        lines.append(trained)
    print("\n".join(lines))
    if given.output:
        write_atomic(given.output, pretty_json(as_json(table, sizes, mixes)))
    if sizes.mean() > given.non_zeros:
        sys.exit(f"{sizes.mean():.1f} non-zeros on average, above {given.non_zeros:g}: lower head.nonzeros")


def osparse(*arguments: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "osparse", *map(str, arguments)], check=True)


def train(build: Path, dataset: Path) -> tuple[Path, Path, str]:
    """The recipe of docs/quality.md; returns the model, the one without the validation split, and what both took."""
    tokenizer, idf, more, model, chosen_with = (
        build / name for name in ("tokenizer", "idf.json", "training", "model", "model-chosen-with")
    )
    osparse("corpus", "build", "--source", "debian", "--option", "english=true", "--output", more)
    osparse("corpus", "tokenizer", dataset, "--output", tokenizer, "--kind", "unigram", "--vocab-size", "12000")
    osparse("idf", dataset, "--tokenizer", tokenizer, "--output", idf)
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    paths = ("--set", f"tokenizer={tokenizer}", "--set", f"idf={idf}")
    osparse("train", CONFIG, "--dataset", more, "--output", chosen_with, *paths)
    osparse("train", CONFIG, "--dataset", more, "--output", model, *paths, "--set", "validation.trained_on=true")
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - began
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return model, chosen_with, f"training, both: {spent:.0f} CPU seconds, {wall:.0f} s wall"


@contextmanager
def local_node(home: Path) -> Iterator[Cluster]:
    """The node in ``home``; one that was not running is stopped afterwards."""
    running = node_status(home).state == "running"
    node = node_up(home, 0)
    try:
        yield Cluster(node.url)
    finally:
        if not running:
            node_down(home)


def opponents(
    model: Model, dataset: Dataset, validation: Benchmark, cluster: Cluster
) -> tuple[dict[str, System], NDArray[np.int64]]:
    """Systems by name, and the model's non-zeros per document."""
    texts = {name: text for batch in validation.texts() for name, text, _ in batch}
    tokenizer = load_tokenizer(model.path / "tokenizer.json")
    special = {model.lexicon.tokens[i] for i in model.lexicon.special_ids}

    def pieces(text: str) -> list[str]:
        return [t for t in tokenizer.encode(text, add_special_tokens=False).tokens if t not in special]

    learned = ModelScores.of(model, validation)
    bm25 = Bm25(texts, pieces)
    learnt = ["train", "validation"] if model.metrics.get("trained_on") else ["train"]
    systems: dict[str, System] = {
        "BM25 words": Bm25(texts, words),
        "BM25 Hangul bigrams": Bm25(texts, bigrams),
        "BM25 own pieces": bm25,
        "OpenSearch BM25": OpenSearchBm25(cluster, validation),
        "dictionary of titles": tuned_dictionary(bm25, dataset, learnt, validation, descriptions=False),
        "dictionary of titles and descriptions": tuned_dictionary(bm25, dataset, learnt, validation, descriptions=True),
        "model": learned,
    }
    return {name: remembered(system) for name, system in systems.items()}, learned.index.non_zeros()


def tuned_dictionary(
    bm25: Bm25, dataset: Dataset, learnt: Sequence[str], validation: Benchmark, *, descriptions: bool
) -> Dictionary:
    """Of the splits that the model learnt from, with the weight of translations that did best on validation before."""

    def tables(splits: Sequence[str]) -> Tables:
        titles = aligned(dataset, dataset.queries, splits)
        more = aligned(dataset, dataset.documents, splits) if descriptions else {}
        return Dictionary.tables_of(bm25, {lang: [*found, *more.get(lang, ())] for lang, found in titles.items()})

    before = tables(["train"])
    best = max(SHARES, key=lambda share: mean_ndcg(Dictionary(bm25, before, share), validation))
    print(f"dictionary: share {best} of {SHARES} chosen on validation")
    return Dictionary(bm25, before if learnt == ["train"] else tables(learnt), best)


def remembered(system: System) -> System:
    """Scores of a judged set are computed once."""
    known: dict[tuple[str, ...], Scores] = {}

    def scores(judged: JudgedSet) -> Scores:
        key = (judged.direction, *judged.queries)
        if key not in known:
            known[key] = system(judged)
        return known[key]

    return scores


class ModelScores:
    """The served score: document weights as the index keeps them, queries by IDF lookup."""

    @classmethod
    def of(cls, model: Model, data: Benchmark) -> ModelScores:
        """With all documents of ``data`` encoded."""
        return cls(model, encode_corpus(model, data, quantised=True))

    def __init__(self, model: Model, index: InvertedIndex) -> None:
        self.model, self.index = model, index
        self.encoder = QueryEncoder(
            load_tokenizer(model.path / "tokenizer.json"), model.lexicon, max_length=model.head.max_length
        )

    def __call__(self, judged: JudgedSet) -> Scores:
        only = self.index.subset(judged.document_ids)
        place = {name: i for i, name in enumerate(judged.document_ids)}
        scores = np.zeros((len(judged.queries), len(place)))
        for row, text in enumerate(judged.queries.values()):
            ids = self.encoder.ids(text)
            for name, score in self.index.search(ids, self.model.lexicon.idf[ids], len(place), only=only):
                scores[row, place[name]] = score
        return scores


class OpenSearchBm25:
    """``match`` on the node, with the best analyzer it has for each language."""

    def __init__(self, cluster: Cluster, data: Benchmark) -> None:
        self.cluster, self.bm25 = cluster, prepare_bm25(cluster, "quality", data)
        print(f"OpenSearch BM25: analyzers {self.bm25.analyzers}")

    def __call__(self, judged: JudgedSet) -> Scores:
        place = {name: i for i, name in enumerate(judged.document_ids)}
        scores = np.zeros((len(judged.queries), len(place)))
        path = f"/{quote(self.bm25.indices[judged.document_lang], safe='')}/_msearch"
        bodies = [render("query_match", text=text, size=DEEP) for text in judged.queries.values()]
        for start in range(0, len(bodies), BATCH):
            lines = ndjson(line for body in bodies[start : start + BATCH] for line in ({}, body))
            answers = self.cluster.request("POST", path, body=lines, timeout=300).body["responses"]
            for row, answer in enumerate(answers, start):
                for hit in answer["hits"]["hits"]:
                    scores[row, place[hit["_id"]]] = hit["_score"]
        return scores


def aligned(dataset: Dataset, texts: pl.LazyFrame, splits: Sequence[str]) -> Aligned:
    """Queries of the splits that share a relevant document, or documents that share a query, by their languages."""
    lang_text = {name: (lang, text) for name, text, lang in texts.select("id", "text", "lang").collect().rows()}
    of: dict[str, set[str]] = {}
    judged = pl.concat([dataset.qrels(split) for split in splits])
    for query, document in judged.select("query_id", "document_id").collect().rows():
        for one, other in ((query, document), (document, query)):
            if one in lang_text:
                of.setdefault(other, set()).add(one)
    pairs = sorted({(a, b) for found in of.values() for a in found for b in found})
    found: Aligned = {}
    for a, b in pairs:
        (lang_a, text_a), (lang_b, text_b) = lang_text[a], lang_text[b]
        if lang_a != lang_b:
            found.setdefault((lang_a, lang_b), []).append((text_a, text_b))
    return found


def hybrid(lexical: System, learned: System, mixes: dict[str, float]) -> System:
    """(1 - mix) x lexical + mix x learned, each scaled to [0, 1] by query as OpenSearch's min_max does."""

    def scores(judged: JudgedSet) -> Scores:
        mix = mixes[judged.direction]
        return (1 - mix) * scaled(lexical(judged)) + mix * scaled(learned(judged))

    return scores


def scaled(scores: Scores) -> Scores:
    """Min-max over the documents found; one that is not found stays 0."""
    low = np.where(scores > 0, scores, np.inf).min(1, keepdims=True)
    spread = scores.max(1, keepdims=True) - low
    found: Scores = np.where(scores > 0, np.maximum((scores - low) / np.maximum(spread, 1e-9), 1e-3), 0.0)
    return found


def tuned_mixes(lexical: System, learned: System, data: Benchmark) -> dict[str, float]:
    """Direction -> share of the model in the hybrid with the best nDCG@10 on ``data``."""
    mixes = {}
    for judged in data.sets:
        a, b = scaled(lexical(judged)), scaled(learned(judged))
        mixes[judged.direction] = max(MIXES, key=lambda mix: ranked((1 - mix) * a + mix * b, judged).mean(NDCG))
    return mixes


def mean_ndcg(system: System, data: Benchmark) -> float:
    return float(np.mean([ranked(system(judged), judged).mean(NDCG) for judged in data.sets]))


def measures(system: System, data: Benchmark) -> dict[str, Measures]:
    found = {}
    for judged in data.sets:
        found[judged.direction] = ranked(system(judged), judged)
        if judged.no_shared:
            found[f"{judged.direction}, no shared word"] = found[judged.direction].subset(judged.no_shared)
    return found


def ranked(scores: Scores, judged: JudgedSet) -> Measures:
    """Equal scores by rising id, documents with score 0 are not found: as the product ranks."""
    ids = np.array(judged.document_ids)
    run = {}
    for query, row in zip(judged.queries, scores, strict=True):
        order = np.argsort(-row, kind="stable")[:RUN_DEPTH]
        run[query] = [str(i) for i in ids[order[row[order] > 0]]]
    return measure(judged.qrels, run)


def directions(table: Table) -> list[str]:
    there = list(table["model"])
    return [*(name for name in TARGETS if name in there), *(name for name in there if name not in TARGETS)]


def show(table: Table) -> list[str]:
    names = directions(table)
    queries = [table["model"][name].queries for name in names]
    lines = [
        "| nDCG@10 | " + " | ".join(f"{name} ({n})" for name, n in zip(names, queries, strict=True)) + " |",
        "|---|" + "---|" * len(names),
    ]
    for system, found in table.items():
        cells = (f"{found[name].mean(NDCG):.3f} ±{found[name].margin(NDCG):.3f}" for name in names)
        lines.append(f"| {system} | " + " | ".join(cells) + " |")
    targets = (f"{TARGETS[name]:.2f}" if name in TARGETS else "" for name in names)
    return [*lines, "| to reach | " + " | ".join(targets) + " |"]


def compare(table: Table) -> list[str]:
    """Model and hybrid against the best opponent of each direction."""
    lines = [
        "| against the best opponent | opponent | difference of the model, p | of the hybrid, p |",
        "|---|---|---|---|",
    ]
    for name in directions(table):
        rivals = [system for system in table if system not in ("model", "hybrid")]
        best = max(rivals, key=lambda system: table[system][name].mean(NDCG))
        cells = []
        for system in ("model", "hybrid"):
            ours, theirs = table[system][name].values(NDCG), table[best][name].values(NDCG)
            p = paired_randomisation_test(ours, theirs, ROUNDS)
            cells.append(f"{ours.mean() - theirs.mean():+.3f}, {p:.4f}")
        lines.append(f"| {name} | {best} {table[best][name].mean(NDCG):.3f} | {cells[0]} | {cells[1]} |")
    return lines


def as_json(table: Table, sizes: NDArray[np.int64], mixes: dict[str, float]) -> dict[str, object]:
    figures = {
        system: {
            name: {"ndcg10": m.mean(NDCG), "margin": m.margin(NDCG), "queries": m.queries} for name, m in found.items()
        }
        for system, found in table.items()
    }
    return {"systems": figures, "non_zeros": {"mean": float(sizes.mean()), "max": int(sizes.max())}, "hybrid": mixes}


if __name__ == "__main__":
    main()
