"""Times of the commands that have a promise, on the quickstart's own output: run `make quickstart` first.

    python benchmarks/commands.py [--runs 5] [--build build/quickstart] [--port 9210]

Whole processes, wall time; median and worst of the runs. Times are this machine's: compare within one run.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

OSPARSE = str(Path(sys.executable).with_name("osparse"))


def seconds(*arguments: str) -> float:
    """Wall time of one osparse command; stops the benchmark if the command fails."""
    started = time.perf_counter()
    subprocess.run([OSPARSE, *arguments], check=True, capture_output=True)
    return time.perf_counter() - started


def measure(name: str, promise: float, runs: int, *arguments: str) -> None:
    times = sorted(seconds(*arguments) for _ in range(runs))
    print(f"| {name} | {statistics.median(times):.2f} | {times[-1]:.2f} | {promise:g} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--build", type=Path, default=Path("build/quickstart"))
    parser.add_argument("--port", default="9210")
    given = parser.parse_args()
    home = str(given.build / "node")
    target = ("--cluster", f"http://127.0.0.1:{given.port}", "--index", "quickstart")

    print("| command | median s | worst s | promised s |\n|---|---|---|---|")
    measure("`osparse --help`", 0.3, given.runs, "--help")
    node_times = []
    for _ in range(given.runs):
        subprocess.run([OSPARSE, "node", "down", "--home", home], check=True, capture_output=True)
        node_times.append(seconds("node", "up", "--home", home, "--port", given.port))
    print(f"| `osparse node up`, warm | {statistics.median(node_times):.2f} | {max(node_times):.2f} | 15 |")
    measure("`osparse search`", 1.0, given.runs, "search", *target, "동영상 편집기")
    measure("`osparse deploy`, nothing to do", 2.0, given.runs, "deploy", str(given.build / "bundle"), *target)
    measure("`osparse verify`", 10.0, given.runs, "verify", str(given.build / "bundle"))


if __name__ == "__main__":
    main()
