"""The quality tables: a model beside every opponent worth having, on deb-koen and on help pages that it never saw.

    python benchmarks/quality.py                                         # make dataset, tokenizer, IDF, models; measure
    python benchmarks/quality.py --model MODEL --chosen-with MODEL       # measure models that are there
    python benchmarks/quality.py --ground gnome-trained --languages de en  # train on help pages, measure on others

Opponents: BM25 over words, over Hangul bigrams and over the model's own pieces, OpenSearch's BM25 with the best
analyzers of the local node (nori, english), and BM25 on pieces with the query expanded by an IBM-1 dictionary of the
training titles, or of titles and descriptions. Beside the model: OpenSearch BM25 + model. Where kiwipiepy is installed,
BM25 over its morphemes too.

Everything that is tuned is tuned on validation queries, with a model that did not learn from them (--chosen-with); the
model that is measured on the test queries is trained by the same configuration on the validation split too.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from lexical import Bm25, Dictionary, Tables, bigrams, morphemes, words
from numpy.typing import NDArray
from quality_systems import (
    ModelScores,
    OpenSearchBm25,
    System,
    Table,
    hybrid,
    local_node,
    mean_ndcg,
    measures,
    remembered,
    tuned_mixes,
)
from quality_tables import TARGETS, compare, show
from quality_training import DESCRIPTIONS, MORE_ENGLISH, TRAINED, train, trained_tables
from unseen import GROUNDS, unseen_tables

from osparse.contracts.dataset import Dataset
from osparse.contracts.model import Model
from osparse.corpus import build_from
from osparse.deployer.cluster.client import Cluster
from osparse.evaluation.measures import NDCG, Benchmark, open_benchmark
from osparse.io.files import pretty_json, write_atomic

Aligned = dict[tuple[str, str], list[tuple[str, str]]]
"""(query language, document language) -> texts that say the same in both."""
ALL_GROUNDS = ("deb-koen", *GROUNDS, TRAINED)
SHARES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Weights tried for a translation in the dictionary."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a model directory; without it two are trained")
    parser.add_argument("--chosen-with", type=Path, help="the model to tune the hybrid with; by default --model itself")
    parser.add_argument("--dataset", type=Path, help="deb-koen, by default BUILD/dataset, made where it is missing")
    parser.add_argument("--build", type=Path, default=Path("build/quality"), help="where everything made here lies")
    parser.add_argument("--split", choices=("test", "validation"), default="test")
    parser.add_argument("--non-zeros", type=float, default=120.0, help="at most so many per document on average")
    parser.add_argument(
        "--ground", nargs="+", choices=ALL_GROUNDS,
        help=f"what to measure on; by default everything, with --model all but {TRAINED}, which trains its own",
    )  # fmt: skip
    parser.add_argument(
        "--languages",
        nargs=2,
        default=["ko", "en"],
        help="of gnome-trained; others than ko en train on its pages alone",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change the configuration of gnome-trained"
    )
    parser.add_argument("--output", type=Path, help="also keep the figures as JSON")
    given = parser.parse_args()
    if given.ground is None:
        given.ground = [ground for ground in ALL_GROUNDS if ground != TRAINED or given.model is None]
    if TRAINED in given.ground:
        with local_node(given.build / "node") as cluster:
            trained_tables(given.build, given.languages, given.set, cluster)
        if given.ground == [TRAINED]:
            return
    trained = None
    if given.dataset is None:
        given.dataset = given.build / "dataset"
        build_from([DESCRIPTIONS], given.dataset)
    if given.model is None:
        recipe = train(given.build, Dataset.open(given.dataset), build_from([MORE_ENGLISH], given.build / "training"))
        given.model, given.chosen_with, trained = recipe.model, recipe.chosen_with, recipe.spent
    model, chosen_with = Model.open(given.model), Model.open(given.chosen_with or given.model)
    if chosen_with.metrics.get("trained_on"):
        parser.error(f"{chosen_with.path} learnt from the validation split; give --chosen-with a model that did not")
    validation, test = open_benchmark(given.dataset, "validation"), open_benchmark(given.dataset, given.split)
    print(f"{given.model} on {given.dataset} ({given.split}); targets at most {given.non_zeros:g} non-zeros\n")
    with local_node(given.build / "node") as cluster:
        if "deb-koen" in given.ground:
            systems, sizes = opponents(model, Dataset.open(given.dataset), validation, cluster)
            table = {name: measures(system, test) for name, system in systems.items()}
            scores = remembered(ModelScores.of(chosen_with, validation))
            mixes = tuned_mixes(systems["OpenSearch BM25"], scores, validation)
            table["hybrid"] = measures(hybrid(systems["OpenSearch BM25"], systems["model"], mixes), test)
            print("\n".join([*show(table, TARGETS), "", *compare(table), "", f"hybrid: share by direction: {mixes}"]))
            print(f"non-zeros per document: mean {sizes.mean():.1f}, max {sizes.max()}")
        for name in (name for name in GROUNDS if name in given.ground):
            for kind, table_of in unseen_tables(name, given.build, model, cluster):
                print("\n".join([f"\n{name}, unseen: {kind}", "", *show(table_of), ""]))
                print("\n".join([*compare(table_of, "OpenSearch BM25"), "", *compare(table_of)]))
    if trained:
        print(trained)
    if "deb-koen" not in given.ground:
        return
    if given.output:
        write_atomic(given.output, pretty_json(as_json(table, sizes, mixes)))
    if sizes.mean() > given.non_zeros:
        sys.exit(f"{sizes.mean():.1f} non-zeros on average, above {given.non_zeros:g}: lower head.nonzeros")


def opponents(
    model: Model, dataset: Dataset, validation: Benchmark, cluster: Cluster
) -> tuple[dict[str, System], NDArray[np.int64]]:
    """Systems by name, and the model's non-zeros per document."""
    texts = {name: text for batch in validation.texts() for name, text, _ in batch}
    learned = ModelScores.of(model, validation)
    bm25 = Bm25(texts, learned.pieces)
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
    tokens = morphemes()
    if tokens is not None:
        systems["BM25 kiwi morphemes"] = Bm25(texts, tokens)
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
