"""Encoding and training in BF16 on a GPU, osparse against sentence-transformers: throughput and peak memory.

    python benchmarks/gpu.py --dataset build/quickstart/dataset [--shapes distil base]
    python benchmarks/gpu.py --dataset build/quickstart/dataset --device cpu --shapes tiny --documents 16 --batch 4

Takes under eight minutes on one GPU, beside the minutes in which benchmarks/peers.py makes the peer's environment; what
would begin after --minutes is left out and said to be. The second line only tries the script. Each contender is a child
process and has the GPU to itself; the first round warms up. "plain" is osparse without its Triton kernels, so that what
these bring is seen. Memory is what torch allocated above the model. sentence-transformers leaves padding out where
flash-attn is installed in its environment.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import encoding
import peers
import training
import workload
from child import Child

MIB = 1 << 20
NAMES = {"osparse": "osparse", "osparse_plain": "osparse, plain", "sentence_transformers": "sentence-transformers"}
LENGTH = 256


def measured(child: Child, rounds: int) -> dict[str, float]:
    """Median seconds and the peak over the rounds after the first."""
    taken = [child.once() for _ in range(1 + rounds)][1:]
    child.end()
    return {"wall": statistics.median(r["wall"] for r in taken), "peak": max(r["peak"] for r in taken)}


def encoder(given: argparse.Namespace, shape: str, contender: str) -> Child:
    model, texts = workload.write(given.work, given.dataset, given.documents, LENGTH, shape)
    batch = 4 * given.batch
    return encoding.start(contender, given.work, model, texts, batch, given.threads, given.device, given.precision)


def trainer(given: argparse.Namespace, shape: str, contender: str) -> Child:
    folder = workload.model_folder(given.work, shape, training.LENGTH)
    model = workload.make_model(folder, given.dataset, training.LENGTH, shape=shape)
    dataset, pairs = workload.make_pairs(given.work, given.dataset, 400)
    is_peer = contender == "sentence_transformers"
    interpreter = peers.python("sentence-transformers") if is_peer else Path(sys.executable)
    command = [interpreter, training.CHILD, contender, model, dataset, pairs, given.device, given.precision]
    command += [given.threads, given.batch, given.steps, 0, 0]
    return Child([str(part) for part in command], peers.environment(given.threads))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, required=True, help="a dataset directory: its bodies are encoded")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--precision", choices=["bf16", "fp32"], default="bf16")
    parser.add_argument("--shapes", nargs="+", choices=list(workload.SHAPES), default=["distil", "base"])
    parser.add_argument("--contenders", nargs="+", choices=list(NAMES), default=list(NAMES))
    parser.add_argument("--documents", type=int, default=2000, help="encoded per round")
    parser.add_argument("--batch", type=int, default=32, help="pairs of a training step; encoding takes four times it")
    parser.add_argument("--steps", type=int, default=10, help="training steps per round")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--work", type=Path, default=Path("build/bench"))
    given = parser.parse_args()
    began = time.monotonic()
    print(f"{device_name(given.device)}, {given.precision}; {json.dumps(peers.versions('sentence-transformers'))}")
    print("| shape | what | contender | per second | osparse is faster | peak above the model, MB | memory ratio |")
    print("|" + "---|" * 7, flush=True)
    for shape in given.shapes:
        for what, start, count in (("documents", encoder, given.documents), ("steps", trainer, 1)):
            first: dict[str, float] = {}
            for contender in given.contenders:
                if time.monotonic() - began > 60 * given.minutes:
                    print(f"| {shape} | {what} | {NAMES[contender]} | left out: {given.minutes:g} minutes are over |")
                    continue
                found = measured(start(given, shape, contender), given.rounds)
                first = first or found
                cells = [shape, what, NAMES[contender], f"{count / found['wall']:.2f}"]
                cells += [f"{found['wall'] / first['wall']:.1f}x", f"{found['peak'] / MIB:.0f}"]
                cells += [f"{found['peak'] / max(first['peak'], MIB):.1f}x"]
                print(f"| {' | '.join(cells)} |", flush=True)
    print(f"{(time.monotonic() - began) / 60:.1f} minutes")


def device_name(device: str) -> str:
    import torch

    if device == "cpu":
        return "CPU, a trial of the script"
    if not torch.cuda.is_available():
        raise SystemExit("torch finds no CUDA device; --device cpu tries the script on the CPU")
    return torch.cuda.get_device_name()


if __name__ == "__main__":
    main()
