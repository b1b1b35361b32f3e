"""Documents a second that a load in mode ml-commons makes: encoded by the cluster, by this machine, or half by each.

    python benchmarks/load_rates.py --bundle build/quickstart/bundle --dataset build/quickstart/dataset \\
        --cluster http://127.0.0.1:9200 [--documents 1000] [--rounds 3]

Needs a cluster with ML Commons and neural-search. Deploys the bundle as index ``load-rates``; every load stores the
same texts under new ids. "Both" runs the two loads at once, each with half of the documents. The three take turns,
and the rate of the cluster in the same round is 1.0. Where the cluster is on this machine, all share its cores.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import workload

from osparse.contracts.bundle import Bundle
from osparse.deployer import Cluster, deploy, index_documents, open_cluster

INDEX = "load-rates"
Side = Literal["cluster", "here"]
WAYS: dict[str, tuple[Side, ...]] = {
    "the cluster": ("cluster",),
    "this machine": ("here",),
    "both": ("cluster", "here"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--cluster", required=True)
    parser.add_argument("--documents", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    bundle, cluster = Bundle.open(given.bundle), open_cluster(given.cluster)
    texts = workload.texts_of(given.dataset, given.documents)
    deploy(bundle, cluster, INDEX, mode="ml-commons")
    run = uuid.uuid4().hex[:8]  # an id that an earlier run stored would count as unchanged
    rates: dict[str, list[float]] = {way: [] for way in WAYS}
    for number in range(given.rounds):
        for way, sides in WAYS.items():
            rates[way].append(len(texts) / seconds(cluster, bundle, texts, sides, f"{run}-{number}-{way}"))
    table(rates)


def seconds(cluster: Cluster, bundle: Bundle, texts: list[str], sides: tuple[Side, ...], name: str) -> float:
    """Of loading all texts, divided among the sides; raises where a document failed."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(len(sides)) as pool:
        files = [Path(folder) / f"{side}.jsonl" for side in sides]
        for part, file in enumerate(files):
            rows = [{"id": f"{name}-{part}-{n}", "text": text} for n, text in enumerate(texts[part :: len(sides)])]
            file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        start = time.monotonic()
        loads = [
            pool.submit(
                index_documents,
                cluster,
                INDEX,
                [file],
                encode=side,
                bundle=bundle,
                failures=file.with_suffix(".failed"),
            )
            for side, file in zip(sides, files, strict=True)
        ]
        failed = sum(load.result().failed for load in loads)
        if failed:
            raise SystemExit(f"{failed} documents failed; see failed.jsonl")
        return time.monotonic() - start


def table(rates: dict[str, list[float]]) -> None:
    print("| encoded by | documents a second, median (range) | beside the cluster alone, median |\n|---|---|---|")
    for way, values in rates.items():
        ratio = statistics.median(a / b for a, b in zip(values, rates["the cluster"], strict=True))
        print(f"| {way} | {statistics.median(values):.0f} ({min(values):.0f} to {max(values):.0f}) | {ratio:.1f}x |")


if __name__ == "__main__":
    main()
