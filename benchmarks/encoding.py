"""Documents per second and memory of encoding, osparse against its peers: same weights, texts, batch and threads.

    python benchmarks/encoding.py --dataset build/quickstart/dataset [--documents 1000] [--rounds 3]
    python benchmarks/encoding.py --dataset build/quickstart/dataset --shape distil --documents 96

Every contender is a child process in its own environment (benchmarks/peers.py makes the peers'), alive during the whole
run; in a round each encodes all texts once, one contender after the other, so that a busy machine is busy for all.
Prints medians over the rounds, ratios within this run, and how far the vectors are from osparse's. CPU seconds are all
threads'.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path

import peers
import workload
from child import Child

CONTENDERS = Path(__file__).with_name("encoding_contenders.py")
PEERS = {"sentence_transformers": "sentence-transformers", "opensearch_py_ml": "opensearch-py-ml"}
NAMES = {
    "osparse": "osparse", "osparse_int8": "osparse, int8 graph", "osparse_plain": "osparse, no int8 screen",
    "sentence_transformers": "sentence-transformers SparseEncoder", "opensearch_py_ml": "opensearch-py-ml",
}  # fmt: skip
MIB = 1 << 20


def start(
    contender: str, work: Path, model: Path, texts: Path, batch: int, threads: int, device: str = "cpu",
    precision: str = "fp32",
) -> Child:  # fmt: skip
    interpreter = peers.python(PEERS[contender]) if contender in PEERS else Path(sys.executable)
    output = work / f"{contender}.json"
    command = [interpreter, CONTENDERS, contender, model, texts, batch, threads, output, device, precision]
    return Child([str(part) for part in command], peers.environment(threads))


def difference(ours: list[dict[str, float]], theirs: list[dict[str, float]], special: set[str]) -> tuple[float, int]:
    """(largest difference of a weight, non-zeros that only one has) over the ordinary tokens."""
    largest, missed = 0.0, 0
    for mine, other in zip(ours, theirs, strict=True):
        rest = {token: weight for token, weight in other.items() if token not in special}
        missed += len(mine.keys() ^ rest.keys())
        both = mine.keys() | rest.keys()
        largest = max([largest, *(abs(mine.get(token, 0.0) - rest.get(token, 0.0)) for token in both)])
    return largest, missed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, required=True, help="a dataset directory: its bodies are encoded")
    parser.add_argument("--model", type=Path, help="a model directory in place of random weights")
    parser.add_argument("--shape", choices=list(workload.SHAPES), default="tiny", help="of the random weights")
    parser.add_argument("--documents", type=int, default=1000)
    parser.add_argument("--length", type=int, default=256, help="tokens per document (of random weights)")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--contenders", nargs="+", default=list(NAMES), choices=list(NAMES))
    parser.add_argument("--work", type=Path, default=Path("build/bench"))
    given = parser.parse_args()
    made, texts = workload.write(given.work, given.dataset, given.documents, given.length, given.shape)
    model = given.model or made
    children = {
        contender: start(contender, given.work, model, texts, given.batch, given.threads)
        for contender in given.contenders
    }
    rounds = [{contender: child.once() for contender, child in children.items()} for _ in range(given.rounds)]
    for child in children.values():
        child.end()
    special = set(json.loads((model / "tokenizer_config.json").read_text()).get("added_tokens_decoder", {}))
    special |= {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}
    vectors = {contender: json.loads((given.work / f"{contender}.json").read_text()) for contender in given.contenders}
    print(
        "| | docs/s | CPU s | MB above the model | osparse is faster | CPU s ratio | memory ratio | vectors differ by |"
    )
    print("|---|---|---|---|---|---|---|---|")
    first = given.contenders[0]
    for contender in given.contenders:
        middle = {key: statistics.median(r[contender][key] for r in rounds) for key in ("wall", "cpu")}
        peak = max(r[contender]["peak"] for r in rounds)
        ratios = [statistics.median(r[contender][key] / r[first][key] for r in rounds) for key in ("wall", "cpu")]
        memory = peak / max(r[first]["peak"] for r in rounds)
        largest, missed = difference(vectors[first], vectors[contender], special)
        print(
            f"| {NAMES[contender]} | {given.documents / middle['wall']:.3g} | {middle['cpu']:.2f} | {peak / MIB:.0f} "
            f"| {ratios[0]:.1f}x | {ratios[1]:.1f}x | {memory:.1f}x | {largest:.1e}, {missed} non-zeros |",
            flush=True,
        )


if __name__ == "__main__":
    main()
