"""Peak memory of osparse evaluate, whole and block by block in 1, 2 and 4 processes.

    python benchmarks/evaluation_memory.py --bundle build/quickstart/bundle --dataset build/quickstart/dataset
        [--copies 8] [--processes 0 1 2 4] [--folder build/evaluation-memory]

Resident memory (VmRSS) of the command and of each of its processes is read every 20 ms: the largest of each, and the
largest sum of their proportional set sizes, in which a page that several share counts once. ``--processes 0`` is the
default, one index in memory. ``--copies`` stores each document so many times under ids of its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import psutil

from osparse.contracts.dataset import Dataset, save_dataset
from osparse.evaluation.measures import open_benchmark

MB = 1e6
PAUSE = 0.02
"""Seconds between two readings."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--copies", type=int, nargs="+", default=[1])
    parser.add_argument("--processes", type=int, nargs="+", default=[0, 1, 2, 4])
    parser.add_argument("--folder", type=Path, default=Path("build/evaluation-memory"))
    given = parser.parse_args()
    print(
        "| documents | processes | command, MB | largest of its processes, MB | together, MB |\n|---|---|---|---|---|"
    )
    for copies in given.copies:
        data = multiplied(given.dataset, copies, given.folder / f"copies-{copies}")
        documents = sum(open_benchmark(data).languages.values())
        for processes in given.processes:
            own, largest, together = peaks(given.bundle, data, processes)
            name = str(processes) if processes else "none, one index"
            print(
                f"| {documents:,} | {name} | {own / MB:,.0f} | {largest / MB:,.0f} | {together / MB:,.0f} |", flush=True
            )


def multiplied(dataset: Path, copies: int, folder: Path) -> Path:
    """The dataset with each document ``copies`` times, and its test queries alone."""
    data = Dataset.open(dataset)
    if copies == 1:
        return dataset
    if not (folder / "manifest.json").is_file():
        more = [data.documents.with_columns(pl.col("id") + f"#{copy}") for copy in range(1, copies)]
        save_dataset(
            folder, documents=pl.concat([data.documents, *more]), queries=data.queries,
            qrels={"test": data.qrels("test")}, sources=data.manifest.sources, split_rule="a benchmark's", seed=0,
        )  # fmt: skip
    return folder


def peaks(bundle: Path, data: Path, processes: int) -> tuple[int, int, int]:
    """Peak bytes of the command itself, of the largest of its processes, and of all together."""
    more = ["--processes", str(processes)] if processes else []
    words = ["--quiet", "evaluate", "--dataset", str(data), "--bundle", str(bundle), "--measures", "nDCG@10", "--json"]
    command = subprocess.Popen([sys.executable, "-m", "osparse", *words, *more], stdout=subprocess.DEVNULL)
    parent = psutil.Process(command.pid)
    own = largest = together = 0
    while command.poll() is None:
        try:
            family = [parent, *parent.children(recursive=True)]
            sizes = [process.memory_full_info() for process in family]
        except psutil.Error:  # one of them has just ended
            continue
        own = max(own, sizes[0].rss)
        largest = max([largest, *(size.rss for size in sizes[1:])])
        together = max(together, sum(size.pss for size in sizes))
        time.sleep(PAUSE)
    if command.returncode:
        raise SystemExit(f"osparse evaluate ended with {command.returncode}")
    return own, largest, together


if __name__ == "__main__":
    main()
