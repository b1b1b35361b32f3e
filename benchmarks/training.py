"""Time and memory of a training step, osparse against SparseEncoderTrainer: same weights, pairs, length and threads.

    python benchmarks/training.py --dataset build/quickstart/dataset [--batch 32] [--steps 3] [--rounds 2]

Both are inference-free: documents of 128 tokens through the model, queries looked up. A step is forward, backward,
clipping and AdamW. The contenders run in turns; medians over steps, then rounds. With --memory GB it also estimates the
largest batch of the peer that fits, from its peaks at --batch and twice that, and trains osparse at ten times it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

import peers
import workload
from child import Child

CHILD = Path(__file__).with_name("training_contenders.py")
MIB = 1 << 20
LENGTH = 128
PEER, CACHED = "SparseEncoderTrainer", "SparseEncoderTrainer, CachedSpladeLoss"
CONTENDERS: dict[str, dict[str, int]] = {
    "osparse, FLOPS over 2,000 random columns": {"columns": 2000},
    "osparse, FLOPS over all columns": {},
    PEER: {},
    CACHED: {"micro": 8},
}
"""Name -> settings. The peer always takes part."""


def start(given: argparse.Namespace, peer: bool, batch: int, steps: int, columns: int = 0, micro: int = 0) -> Child:
    folder = workload.model_folder(given.work, given.shape, LENGTH)
    model = workload.make_model(folder, given.dataset, LENGTH, shape=given.shape)
    dataset, pairs = workload.make_pairs(given.work, given.dataset, given.pairs)
    interpreter = peers.python("sentence-transformers") if peer else Path(sys.executable)
    contender = "sentence_transformers" if peer else "osparse"
    command = [interpreter, CHILD, contender, model, dataset, pairs, "cpu", "fp32"]
    command += [given.threads, batch, steps, columns, micro]
    return Child([str(part) for part in command], peers.environment(given.threads))


def steps(given: argparse.Namespace) -> None:
    children = {
        name: start(given, name in (PEER, CACHED), given.batch, given.steps, **CONTENDERS[name])
        for name in [*given.contenders, PEER]
    }
    rounds = [{name: child.once() for name, child in children.items()} for _ in range(1 + given.rounds)]
    rounds = rounds[1:]  # the first makes kernels and optimiser states
    for child in children.values():
        child.end()
    print(f"| a step of {given.batch} pairs | s | CPU s | MB above the model | against {PEER}: s | CPU s | MB |")
    print("|---|---|---|---|---|---|---|")
    peak = {name: max(r[name]["peak"] for r in rounds) for name in children}
    for name in children:
        middle = {key: statistics.median(r[name][key] for r in rounds) for key in ("wall", "cpu")}
        ratio = {key: statistics.median(r[PEER][key] / r[name][key] for r in rounds) for key in ("wall", "cpu")}
        print(
            f"| {name} | {middle['wall']:.2f} | {middle['cpu']:.2f} | {peak[name] / MIB:.0f} "
            f"| {ratio['wall']:.1f}x | {ratio['cpu']:.1f}x | 1/{peak[PEER] / peak[name]:.1f} |",
            flush=True,
        )


def largest(given: argparse.Namespace) -> None:
    sizes = (given.batch, 2 * given.batch)
    peaks = []
    for size in sizes:
        child = start(given, True, size, 1)
        peaks.append(child.once()["peak"])
        child.end()
    per_pair = (peaks[1] - peaks[0]) / (sizes[1] - sizes[0])
    fits = int(sizes[0] + (given.memory * 1e9 - peaks[0]) / per_pair)
    print(f"{PEER}: {peaks[0] / 1e9:.2f} GB at {sizes[0]} pairs, {peaks[1] / 1e9:.2f} at {sizes[1]}: about {fits} fit")
    child = start(given, False, 10 * fits, 1, columns=2000, micro=32)
    print(f"osparse at {10 * fits} pairs, 32 at a time (gradient caching): {child.once()['peak'] / 1e9:.2f} GB")
    child.end()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, required=True, help="a dataset directory: its bodies make the pairs")
    parser.add_argument("--shape", choices=list(workload.SHAPES), default="tiny", help="of the random weights")
    names = [name for name in CONTENDERS if name != PEER]
    parser.add_argument("--contenders", nargs="*", choices=names, default=names, metavar="NAME", help="; ".join(names))
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--pairs", type=int, default=1600, help="to draw the batches from")
    parser.add_argument("--steps", type=int, default=3, help="per round")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", type=float, metavar="GB", help="also find the largest batches within it")
    parser.add_argument("--work", type=Path, default=Path("build/bench"))
    given = parser.parse_args()
    steps(given)
    if given.memory:
        largest(given)


if __name__ == "__main__":
    main()
