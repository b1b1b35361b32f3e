"""A training step on two cores of which another process uses one: asleep or spinning while threads wait.

    python benchmarks/busy_neighbour.py [--steps 60] [--cores 2]

Trains the quickstart's model on examples/sample_corpus.jsonl, pinned to so many cores, beside a process that keeps one
of them busy. "Free core alone" is one thread on a core that nothing else uses: what is left of two cores. Exits with 1
if a step with osparse's setting takes more than 1.3 times as long. Nothing else may run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 1.3
"""Times the free core's step that a step beside the neighbour may take."""
SPINNING = {"GOMP_SPINCOUNT": "300000"}
"""What libgomp does if it is told nothing."""


def osparse(*arguments: str, cores: Sequence[int] = (), **environment: str) -> None:
    """Run one command on the given cores; stops the benchmark if it fails."""
    pin = (lambda: os.sched_setaffinity(0, cores)) if cores else None
    plain = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "OMP_NUM_THREADS")}
    command = [sys.executable, "-m", "osparse", "--quiet", *arguments]
    subprocess.run(command, check=True, env=plain | environment, preexec_fn=pin, cwd=ROOT, stdout=subprocess.DEVNULL)


def prepare(folder: Path) -> None:
    sample = str(ROOT / "examples" / "sample_corpus.jsonl")
    osparse("corpus", "build", "--source", "jsonl", sample, "--output", f"{folder}/dataset")
    osparse("corpus", "tokenizer", f"{folder}/dataset", "--output", f"{folder}/tokenizer", "--vocab-size", "2000")
    osparse("idf", f"{folder}/dataset", "--tokenizer", f"{folder}/tokenizer", "--output", f"{folder}/idf.json")


def step(folder: Path, name: str, steps: int, cores: Sequence[int], **environment: str) -> float:
    """Median seconds of a ranking step, the first ten left out."""
    changes = {
        "tokenizer": f"{folder}/tokenizer", "idf": f"{folder}/idf.json", "threads": str(len(cores)),
        "stages.mlm.steps": "1", "stages.ranking.steps": str(steps), "validation.every": str(10 * steps),
    }  # fmt: skip
    sets = [part for key, value in changes.items() for part in ("--set", f"{key}={value}")]
    output = folder / name
    osparse(
        "train", "configs/quickstart.yaml", "--dataset", f"{folder}/dataset", "--output", str(output), *sets,
        cores=cores, **environment,
    )  # fmt: skip
    rows = [json.loads(line) for line in (folder / f"{name}.run" / "metrics.jsonl").read_text().splitlines()]
    return statistics.median(
        row["step_seconds"] for row in rows if row["kind"] == "step" and row["stage"] == "ranking" and row["step"] > 1
    )


@contextmanager
def neighbour(core: int) -> Iterator[None]:
    """A process that keeps a core busy."""
    command = f"import os; os.sched_setaffinity(0, [{core}])\nwhile True: pass"
    process = subprocess.Popen([sys.executable, "-c", command])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--cores", type=int, default=2)
    given = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[: given.cores]
    if len(cores) < 2:
        parser.error(f"two cores are needed, this process may use {len(cores)}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        alone = step(folder, "alone", given.steps, cores[1:])
        whole = step(folder, "whole", given.steps, cores)
        with neighbour(cores[0]):
            spinning = step(folder, "spinning", given.steps, cores, **SPINNING)
            asleep = step(folder, "asleep", given.steps, cores)
    print("| machine | threads | waiting | seconds per step | of the free core alone |\n|---|---|---|---|---|")
    for machine, threads, waiting, seconds in (
        (f"{len(cores) - 1} free, the others unused", len(cores) - 1, "asleep", alone),
        (f"{len(cores)} free", len(cores), "asleep", whole),
        (f"{len(cores)}, one of them busy", len(cores), "spinning", spinning),
        (f"{len(cores)}, one of them busy", len(cores), "asleep (osparse)", asleep),
    ):
        print(f"| {machine} | {threads} | {waiting} | {seconds:.3f} | {seconds / alone:.2f} |")
    sys.exit(int(asleep > LIMIT * alone))


if __name__ == "__main__":
    main()
