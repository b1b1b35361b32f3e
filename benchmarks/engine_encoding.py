"""Encode the same documents by `osparse encode`, Ray Data and Spark, with kills, and compare the shards byte by byte.

    python benchmarks/engine_encoding.py documents.jsonl build/bundle --output /tmp/engines

Needs the extras ray and spark and a Java. Prints a table: seconds, processor seconds of the processes that this one
started (an engine's own workers are not among them), shards equal to those of one part. A killed run gets SIGKILL for
its whole process group after a random time, thrice at most, and then runs to its end. Exit code 1 if a byte differs.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

RAY = """
import sys, ray
from osparse.integrations import ray as osparse_ray
documents, bundle, output, rows, workers = sys.argv[1:]
ray.init(num_cpus=int(workers) + 1, include_dashboard=False, log_to_driver=False)
done = osparse_ray.read_shards([documents], shard_rows=int(rows)).map_batches(
    osparse_ray.EncodeShards, fn_constructor_args=(bundle, output), batch_format="pyarrow", batch_size=1,
    concurrency=int(workers),
)
print("documents", done.sum("documents"))
"""
SPARK = """
import sys
from pyspark.sql import SparkSession
from osparse.integrations import spark as osparse_spark
documents, bundle, output, rows, workers = sys.argv[1:]
builder = SparkSession.builder.master(f"local[{workers}]").config("spark.ui.enabled", "false")
spark = builder.config("spark.sql.execution.arrow.maxBytesPerBatch", 64 << 20).getOrCreate()
shards = osparse_spark.read_shards(spark, [documents], shard_rows=int(rows)).repartition(8)
encode = osparse_spark.encode_shards(spark, bundle, output)
print("documents", shards.mapInArrow(encode, osparse_spark.RESULT).selectExpr("sum(documents)").first()[0])
"""


def main() -> None:
    given = parse_arguments()
    given.output.mkdir(parents=True, exist_ok=True)
    os.environ["PYSPARK_PYTHON"] = sys.executable  # Spark's workers take python3 of the PATH otherwise
    print("| run | seconds | processor seconds | kills | shards equal |\n|---|---|---|---|---|", flush=True)
    runs = make_runs(given)
    chosen = [name for name in runs if not given.only or name in ("one part", *given.only)]
    first, *others = [(name, runs[name]) for name in chosen]
    wrong = [measured(given, *first, None)]
    wrong += [measured(given, name, run, given.output / "one-part") for name, run in others]
    sys.exit(any(wrong))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--shard-rows", type=int, default=512)
    parser.add_argument("--only", nargs="*", help="names of runs; all if left out")
    return parser.parse_args()


def make_runs(given: argparse.Namespace) -> dict[str, Callable[[Path], int]]:
    """Name -> a run that writes to a folder and returns how often it was killed."""
    rows, order = str(given.shard_rows), [3, 1, 4, 2]

    def part(output: Path, number: int) -> list[str]:
        where = ["--output", str(output), "--part", f"{number}/4", "--workers", "1", "--shard-rows", rows]
        return [*encode, *where, "--failures", str(given.output / f"failed-{number}.jsonl")]

    def engine(code: str, workers: int) -> Callable[[Path], list[str]]:
        given_to = (str(given.documents), str(given.bundle))
        return lambda output: [sys.executable, "-c", code, *given_to, str(output), rows, str(workers)]

    encode = [sys.executable, "-m", "osparse", "encode", str(given.documents), "--bundle", str(given.bundle), "--quiet"]
    alone = [*encode, "--workers", "1", "--shard-rows", rows, "--failures", str(given.output / "failed.jsonl")]
    engines = {f"{name}, {n}": engine(code, n) for name, code in (("Ray", RAY), ("Spark", SPARK)) for n in (1, 2)}
    return {
        "one part": lambda output: finished([[*alone, "--output", str(output)]]),
        "four parts in turn": lambda output: sum(finished([part(output, number)]) for number in order),
        "four parts at once": lambda output: finished([part(output, number) for number in order]),
        **{f"{name} workers": lambda output, made=made: finished([made(output)]) for name, made in engines.items()},
        "Ray, 2 workers, killed": lambda output: killed(engines["Ray, 2"](output)),
        "Spark, 2 workers, killed": lambda output: killed(engines["Spark, 2"](output)),
    }


def measured(given: argparse.Namespace, name: str, run: Callable[[Path], int], expected: Path | None) -> bool:
    """Prints a row; whether a byte differs."""
    output = given.output / name.replace(", ", "-").replace(" ", "-")
    started, cpu = time.monotonic(), processor_seconds()
    kills = run(output)
    seconds, used = time.monotonic() - started, processor_seconds() - cpu
    shards, equal = content(output), ""
    if expected is not None:
        whole = content(expected)
        equal = f"{sum(shards.get(shard) == data for shard, data in whole.items())} of {len(whole)}"
    print(f"| {name} | {seconds:.0f} | {used:.1f} | {kills or ''} | {equal} |", flush=True)
    return expected is not None and shards != content(expected)


def finished(commands: Sequence[Sequence[str]]) -> int:
    """All at once; raises where one fails."""
    processes = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for command in commands]
    for process in processes:
        _, said = process.communicate()
        if process.returncode:
            raise SystemExit(said.decode(errors="replace")[-4000:])
    return 0


def killed(command: Sequence[str]) -> int:
    """Killed after 25 to 60 seconds, thrice at most, then left to end; how often it was."""
    draw = random.Random(0)
    for kills in range(3):
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            process.wait(draw.uniform(25, 60))
            return kills
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    finished([command])
    return 3


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
