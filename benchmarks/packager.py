"""The packaged TorchScript against opensearch-py-ml's `save_as_pt` on the same weights, and how long packaging takes.

    python benchmarks/packager.py --dataset build/quickstart/dataset [--rounds 5]

Both graphs are run by the peer's own environment (benchmarks/peers.py makes it), each in a child process of its own, on
one thread as the server runs them; in a round each answers once, one after the other, so that a busy machine is busy
for both. Prints medians of the processor time per text, the largest peak of memory above the loaded model, and ratios
within this run. The first round warms up: it counts for the memory, not for the time.

Not named packaging.py: a script's folder is searched first, and transformers imports a package of that name.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import peers
import workload
from child import Child

from osparse.contracts.bundle import Bundle
from osparse.contracts.zip_members import read_member

CONTENDERS = Path(__file__).with_name("packager_contenders.py")
PEER = "opensearch-py-ml"
LENGTH = 256
CASES = {"one text": (1, 10), "32 texts": (32, 1)}
"""Case -> texts of 256 tokens in a call, calls in a round."""
MIB = 1 << 20


def package(model: Path, output: Path, times: int) -> tuple[list[float], list[float]]:
    """Wall and processor seconds of `osparse package`, imports included."""
    walls, cpus = [], []
    for _ in range(times):
        shutil.rmtree(output, ignore_errors=True)
        code = (
            "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); "
            "used = resource.getrusage(resource.RUSAGE_CHILDREN); print(used.ru_utime + used.ru_stime)"
        )
        command = [sys.executable, "-m", "osparse", "--quiet", "package", str(model), "--output", str(output)]
        begun = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", code, *command], check=True, capture_output=True, text=True,
            env=peers.environment(1),
        )  # fmt: skip
        walls.append(time.perf_counter() - begun)
        cpus.append(float(done.stdout.splitlines()[-1]))
    return walls, cpus


def difference(work: Path, case: str, special: list[int]) -> float:
    """Largest difference of a weight between the two contenders, over the ordinary ids."""
    ours, theirs = (
        np.array(json.loads((work / f"{contender}.{case}.json").read_text())) for contender in ("osparse", "peer")
    )
    gap = np.abs(ours - theirs)
    gap[:, special] = 0
    return float(gap.max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, required=True, help="a dataset directory: a tokenizer is fitted on it")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--packagings", type=int, default=3, help="times that osparse package is run")
    parser.add_argument("--work", type=Path, default=Path("build/bench"))
    given = parser.parse_args()
    work: Path = given.work.resolve()
    model = workload.make_model(workload.model_folder(work, "tiny", LENGTH), given.dataset, LENGTH)
    weights = (model / "model.safetensors").stat().st_size
    walls, cpus = package(model, work / "bundle", given.packagings)
    seconds = f"wall {min(walls):.1f} s, processor {min(cpus):.1f} s"
    print(f"osparse package of {weights / 1e6:.1f} MB, graphs and emulator checked: {seconds}", flush=True)
    bundle = Bundle.open(work / "bundle")
    (work / "osparse.pt").write_bytes(read_member(bundle.zip_path("torchscript"), "model.pt"))
    python = str(peers.python(PEER))
    subprocess.run([python, str(CONTENDERS), "export", str(model), str(work)], check=True, stdout=subprocess.DEVNULL)
    print(f"peer: {peers.versions(PEER)}\n")
    print("| case | contender | processor time per text | peak above the loaded model | largest difference |")
    print("|---|---|---|---|---|")
    for case, (batch, calls) in CASES.items():
        children = {}
        for contender in ("osparse", "peer"):
            told = (f"{work}/{contender}.pt", str(batch), str(LENGTH), str(calls), f"{work}/{contender}.{case}.json")
            children[contender] = Child([python, str(CONTENDERS), "run", *told], peers.environment(1))
        rounds = [{contender: child.once() for contender, child in children.items()} for _ in range(given.rounds + 1)]
        for child in children.values():
            child.end()
        gap = difference(work, case, list(bundle.head.masked_ids))
        time_of, peak_of = {}, {}
        for contender in children:
            time_of[contender] = statistics.median(r[contender]["cpu"] for r in rounds[1:]) / (batch * calls)
            peak_of[contender] = max(r[contender]["peak"] for r in rounds)
            milliseconds, mebibytes = time_of[contender] * 1e3, peak_of[contender] / MIB
            print(f"| {case} | {contender} | {milliseconds:.1f} ms | {mebibytes:.1f} MiB | {gap:.1e} |")
        times, peaks = time_of["osparse"] / time_of["peer"], peak_of["osparse"] / peak_of["peer"]
        print(f"| {case} | **ratio** | **{times:.2f}** | **{peaks:.3f}** | |", flush=True)


if __name__ == "__main__":
    main()
