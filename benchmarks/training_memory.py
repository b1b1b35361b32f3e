"""Memory of a training run whose dataset has many documents: texts and token ids are to stay in memory maps.

    python benchmarks/training_memory.py --folder build/bench [--documents 2000000] [--steps 20]

Half as many queries as documents; each has one relevant document and one mined negative. A small model, a ranking stage
with that negative. "Beside the model" is what is more than for 2,000 documents. Anonymous memory is the process's own;
resident memory also counts the pages of the maps that were touched, which the kernel takes back when it needs them.
Exits with 1 if the resident memory beside the model is above 3 GB.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
from busy_neighbour import ROOT, prepare

from osparse.contracts.dataset import CANDIDATES, Dataset, Source, save_dataset

LIMIT = 3e9
SMALL = 2_000
VALIDATION = 50
"""Queries held back."""


def make_dataset(path: Path, documents: int) -> Dataset:
    """Synthetic texts of about 330 bytes, written without holding them."""
    if (path / "manifest.json").is_file():
        return Dataset.open(path)
    words = " ".join(f"word{i}" for i in range(40))
    numbers = pl.LazyFrame({"n": pl.Series(range(documents), dtype=pl.Int64)})
    asked = pl.LazyFrame({"n": pl.Series(range(documents // 2), dtype=pl.Int64)})
    judged = asked.select(
        "n",
        query_id=pl.format("q{}", "n"),
        document_id=pl.format("d{}", 2 * pl.col("n")),
        score=pl.lit(1.0),
        origin=pl.lit("annotated"),
    )
    trained = pl.col("n") >= VALIDATION
    mined = asked.filter(trained).select(
        query_id=pl.format("q{}", "n"),
        document_id=pl.format("d{}", 2 * pl.col("n") + 1),
        label=pl.lit(0.0, pl.Float32),
        score=pl.lit(1.0, pl.Float32),
        origin=pl.lit("mined"),
        scorer=pl.lit("bm25"),
    )
    return save_dataset(
        path,
        documents=numbers.select(
            id=pl.format("d{}", "n"),
            title=pl.lit(""),
            text=pl.format("document {} " + words + " {}", "n", pl.col("n") * 7919 % 100_003),
            lang=pl.lit("en"),
            date=pl.lit(None, pl.Date),
            source=pl.lit("synthetic"),
            group=pl.format("d{}", "n"),
        ),
        queries=asked.select(
            id=pl.format("q{}", "n"), text=pl.format("document {}", 2 * pl.col("n")), lang=pl.lit("en"),
            date=pl.lit(None, pl.Date),
        ),
        qrels={"train": judged.filter(trained).drop("n"), "validation": judged.filter(~trained).drop("n")},
        candidates={"train": mined.select(*CANDIDATES)},
        sources=[Source("synthetic", "none", documents, documents, {}, "0" * 64)],
        split_rule="the first queries are held back",
        seed=0,
    )  # fmt: skip


def status(process: int, *fields: str) -> list[int]:
    """Bytes that /proc says of a process; zeros once it has ended."""
    try:
        lines = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
    except (FileNotFoundError, ProcessLookupError):
        lines = {}
    return [1024 * int(lines.get(field, "0 kB").split()[0]) for field in fields]


def train(folder: Path, dataset: Dataset, steps: int) -> dict[str, float]:
    """Peaks of resident and of anonymous memory, and seconds."""
    output = folder / f"model-{dataset.path.name}"
    stage = (
        f"{{task: ranking, steps: {steps}, batch: 32, lr: 1e-4, schedule: constant, warmup: 0, max_length: 96, "
        "temperature: 2, spans: 1, neighbours: 0, span_weight: 0.5, negatives: 1, pool: all}"
    )
    sets = [
        f"tokenizer={folder}/tokenizer", f"idf={folder}/idf.json", f"stages=[{stage}]", "encoder.hidden=64",
        "encoder.feed_forward=128", "validation.documents=100", "lexical_table=null", "head.own_share=1",
    ]  # fmt: skip
    command = [sys.executable, "-m", "osparse", "--quiet", "train", "configs/quickstart.yaml", "--overwrite"]
    command += ["--dataset", str(dataset.path), "--output", str(output)]
    started = time.monotonic()
    process = subprocess.Popen(
        command + [part for change in sets for part in ("--set", change)], cwd=ROOT, stdout=subprocess.DEVNULL
    )
    peaks = [0, 0]
    while process.poll() is None:
        peaks = [max(pair) for pair in zip(peaks, status(process.pid, "VmHWM", "RssAnon"), strict=True)]
        time.sleep(0.1)
    if process.returncode:
        sys.exit(process.returncode)
    return {"resident": peaks[0], "anonymous": peaks[1], "seconds": time.monotonic() - started}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("build/bench"))
    parser.add_argument("--documents", type=int, default=2_000_000)
    parser.add_argument("--steps", type=int, default=20)
    given = parser.parse_args()
    folder = given.folder.resolve() / "training_memory"
    folder.mkdir(parents=True, exist_ok=True)
    prepare(folder)
    print("| documents | text, GB | resident, GB | anonymous, GB | resident beside the model, GB | whole run, s |")
    print("|---|---|---|---|---|---|")
    beside = base = 0.0
    for documents in (SMALL, given.documents):
        dataset = make_dataset(folder / f"documents-{documents}", documents)
        size = os.stat(dataset.path / "documents.arrow").st_size
        run = train(folder, dataset, given.steps)
        base = base or run["resident"]
        beside = run["resident"] - base
        figures = [size, run["resident"], run["anonymous"], beside]
        print(f"| {documents:,} | {' | '.join(f'{f / 1e9:.2f}' for f in figures)} | {run['seconds']:.0f} |", flush=True)
    sys.exit(int(beside > LIMIT))


if __name__ == "__main__":
    main()
