"""How long BM25 hard-negative mining takes on a dataset, and what it finds.

osparse corpus build --source debian --option english=true --output build/debian-english
python benchmarks/mining.py --dataset build/debian-english
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import polars as pl

from osparse.contracts.dataset import Dataset
from osparse.corpus import MiningRules, mine
from osparse.corpus.mining.retrievers import Bm25Retriever


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, required=True)
    dataset = Dataset.open(parser.parse_args().dataset)
    queries = dataset.qrels("train").select(pl.col("query_id").n_unique()).collect().item()
    documents = dataset.documents.select(pl.len()).collect().item()
    with tempfile.TemporaryDirectory() as folder:
        before = time.process_time()
        started = time.perf_counter()
        _, report = mine(dataset, Path(folder) / "mined", Bm25Retriever(), MiningRules())
        wall, cpu = time.perf_counter() - started, time.process_time() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print("| queries | documents | rankings | negatives | with negatives | minutes | CPU minutes | peak GB |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|")
    print(
        f"| {queries:,} | {documents:,} | {report.queries:,} | {report.negatives:,} | "
        f"{report.with_negatives / report.queries:.1%} | {wall / 60:.1f} | {cpu / 60:.1f} | {peak:.2f} |"
    )
    for reason, count in sorted(report.left_out.items()):
        print(f"\nleft out {count:,}: {reason}", end="")
    print(f"\nanswer not ranked: {report.answer_not_found:,} of {report.queries:,}")


if __name__ == "__main__":
    main()
