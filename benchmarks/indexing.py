"""Loads in client mode into the real embedded OpenSearch: documents per second, and what they are spent on.

    python benchmarks/indexing.py [--bundle build/quickstart/bundle|lookup] [--dataset build/quickstart/dataset]

Three tables. Loads: one document at a time (encoded, then sent, then the next) against `osparse index` with one and
two encoder processes; the variants take turns, on other documents each time, and the median of the rounds is shown.
Profile: where the processor time of the fastest load goes (encoder processes, osparse itself, OpenSearch), and the rate
osparse and OpenSearch reach when encoding costs nothing. Deploy: the wall time of whole `osparse deploy` processes less
the time the server took to answer. Times are this machine's and of that hour; processor times hardly change with what
else it does.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from fault_proxy import fault_proxy  # noqa: E402
from lookup_bundle import make_lookup_bundle  # noqa: E402
from mlcommons_server import mlcommons_server  # noqa: E402

from osparse.contracts.bundle import Bundle  # noqa: E402
from osparse.deployer import Cluster, deploy, load_rows, node_down, node_up, open_cluster  # noqa: E402
from osparse.deployer.cluster.api import ClusterApi  # noqa: E402
from osparse.deployer.encode.worker import FeatureEncoder  # noqa: E402
from osparse.deployer.load import stream  # noqa: E402
from osparse.deployer.load.bulk import Line, send_bulk  # noqa: E402
from osparse.deployer.load.documents import HASH_FIELD, DocumentRow, Row, read_documents  # noqa: E402
from osparse.encoders.onnx_encoder import OnnxEncoder  # noqa: E402

NAME = "benchmark"
OSPARSE = str(Path(sys.executable).with_name("osparse"))


@dataclass
class Node:
    cluster: Cluster
    process: psutil.Process
    bundle: Bundle

    @property
    def index(self) -> str:
        return f"{NAME}-{self.bundle.short}"

    def emptied(self) -> ClusterApi:
        self.cluster.request("DELETE", f"/{self.index}", allow=(404,))
        deploy(self.bundle, self.cluster, NAME)
        return ClusterApi(self.cluster)


def one_at_a_time(node: Node, encoder: OnnxEncoder, documents: list[DocumentRow]) -> None:
    api = node.emptied()
    for document in documents:
        (weights,) = encoder.encode([document.text])
        source = {**document.fields, HASH_FIELD: document.hash, "sparse_embedding": _safe(weights)}
        failed = send_bulk(api, node.index, [Line(document.id, source)])
        assert_none(failed)


def with_workers(node: Node, workers: int, documents: list[DocumentRow]) -> None:
    node.emptied()
    rows: list[Row] = list(documents)
    result = load_rows(node.cluster, NAME, rows, len(rows), workers=workers)
    assert_none(result.first_failures)


def assert_none(failed: object) -> None:
    if failed:
        raise RuntimeError(f"documents failed: {failed}")


def _safe(weights: dict[str, float]) -> dict[str, float]:
    return {token.replace(".", "\u2024"): weight for token, weight in weights.items()}


@dataclass
class Measured:
    """Of one load."""

    rate: float
    """Documents per second."""
    spent: float
    """Processor milliseconds per document: this process, its encoder processes and OpenSearch."""


def measured(node: Node, load: Callable[[list[DocumentRow]], None], documents: list[DocumentRow]) -> Measured:
    before, started = _all_cpu(node), time.perf_counter()
    load(documents)
    wall = time.perf_counter() - started
    return Measured(len(documents) / wall, (_all_cpu(node) - before) / len(documents) * 1e3)


def _all_cpu(node: Node) -> float:
    return _cpu(psutil.Process()) + _children_cpu() + _cpu(node.process)


def loads(node: Node, pool: list[DocumentRow], rounds: int, few: int, many: int) -> None:
    cores = psutil.cpu_count() or 1
    alone, every = OnnxEncoder.open(node.bundle, threads=1), OnnxEncoder.open(node.bundle)
    variants: dict[str, tuple[int, Callable[[list[DocumentRow]], None]]] = {
        "one at a time, one thread": (few, lambda some: one_at_a_time(node, alone, some)),
        f"one at a time, {cores} threads": (few, lambda some: one_at_a_time(node, every, some)),
        "osparse index --workers 1": (many, lambda some: with_workers(node, 1, some)),
        "osparse index --workers 2": (many, lambda some: with_workers(node, 2, some)),
    }
    found: dict[str, list[Measured]] = {name: [] for name in variants}
    rows = iter(pool * (1 + rounds * 2 * (few + many) // len(pool)))
    for _ in range(rounds):
        for name, (count, load) in variants.items():
            found[name].append(measured(node, load, list(islice(rows, count))))
    base = statistics.median(one.rate for one in found["one at a time, one thread"])
    print("| load | documents/s (median) | runs | x one at a time | processor ms per document |\n|---|---|---|---|---|")
    for name, runs in found.items():
        middle, spent = statistics.median(one.rate for one in runs), statistics.median(one.spent for one in runs)
        shown = ", ".join(f"{one.rate:.0f}" for one in runs)
        print(f"| {name} | {middle:.1f} | {shown} | {middle / base:.2f} | {spent:.1f} |", flush=True)


def profile(node: Node, documents: list[DocumentRow]) -> None:
    node.emptied()
    me, before = psutil.Process(), _cpu(node.process)
    mine, workers = _cpu(me), _children_cpu()
    started = time.perf_counter()
    load_rows(node.cluster, NAME, list[Row](documents), len(documents), workers=2)
    wall = time.perf_counter() - started
    spent = {
        "encoder processes": _children_cpu() - workers,
        "osparse (reading, hashing, JSON, sending)": _cpu(me) - mine,
        "OpenSearch": _cpu(node.process) - before,
    }
    print(f"\n{len(documents):,} documents with 2 encoder processes in {wall:.0f} s:\n")
    print("| spent by | processor ms per document | share |\n|---|---|---|")
    for name, seconds in spent.items():
        print(f"| {name} | {seconds / len(documents) * 1e3:.2f} | {seconds / sum(spent.values()):.0%} |")
    free = measured(node, lambda some: _without_encoding(node, some), documents)
    print(f"\nWith an encoder that costs nothing (the same features for every text): {free.rate:,.0f} documents/s.")


def _without_encoding(node: Node, documents: list[DocumentRow]) -> None:
    (features,) = FeatureEncoder(node.bundle.zip_path("onnx"), "u2024").encode([documents[0].text])

    class Free:
        def encode(self, ids: list[str], texts: list[str]) -> list[bytes]:
            return [features] * len(ids)

        def close(self) -> None:
            pass

    api = node.emptied()
    from osparse.deployer.load.bulk import FailureLog
    from osparse.deployer.load.read_deployment import read_deployment
    from osparse.io.progress import Bar

    deployment = read_deployment(node.cluster, node.index)
    load = stream.Load(api, node.index, deployment, Free, senders=3)  # type: ignore[arg-type]
    load.run(documents, FailureLog(Path("failed.jsonl")), Bar("", None, ""))


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _children_cpu() -> float:
    """Of the children that ended and were waited for: the encoder processes."""
    times = psutil.Process().cpu_times()
    return float(times.children_user + times.children_system)


def deploys(node: Node, runs: int) -> None:
    print("\n| `osparse deploy` | wall s | server s | the rest s | processor s of osparse |\n|---|---|---|---|---|")
    for what, url in (("fresh, mode client, real node", node.cluster.url), ("fresh, ML Commons (emulator)", "")):
        rows = []
        for _ in range(runs):
            if url:
                node.cluster.request("DELETE", f"/{node.index},osparse-bundles", allow=(404,))
                rows.append(_deploy(url, node.bundle))
            else:
                with mlcommons_server() as server:
                    rows.append(_deploy(server.url, node.bundle))
        wall, server, spent = (statistics.median(row[i] for row in rows) for i in range(3))
        rest = statistics.median(row[0] - row[1] for row in rows)
        print(f"| {what} | {wall:.2f} | {server:.2f} | {rest:.2f} | {spent:.2f} |", flush=True)


def _deploy(url: str, bundle: Bundle) -> tuple[float, float, float]:
    with fault_proxy(url) as proxy:
        command = [OSPARSE, "deploy", str(bundle.path), "--cluster", proxy.url, "--index", NAME]
        started, before = time.perf_counter(), _children_cpu()
        subprocess.run(command, check=True, capture_output=True)
        return time.perf_counter() - started, proxy.waited, _children_cpu() - before


def _lookup(folder: Path) -> Bundle:
    target = folder / "lookup"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    return make_lookup_bundle(target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default="build/quickstart/bundle", help="or: lookup, the small one of the tests")
    parser.add_argument("--dataset", type=Path, default=Path("build/quickstart/dataset"))
    parser.add_argument("--home", type=Path, default=Path("build/indexing"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--few", type=int, default=200, help="documents of a load one at a time")
    parser.add_argument("--many", type=int, default=800, help="documents of a load by osparse index")
    given = parser.parse_args()
    pool = [row for row in read_documents([given.dataset]) if isinstance(row, DocumentRow)]
    given.home.mkdir(parents=True, exist_ok=True)
    try:
        status = node_up(given.home / "node", port=0, tied=True)
        bundle = _lookup(given.home) if given.bundle == "lookup" else Bundle.open(given.bundle)
        node = Node(open_cluster(str(status.url)), psutil.Process(status.pid), bundle)
        with_workers(node, 1, pool[:300])  # warm: the JVM compiles, the parts are cached
        loads(node, pool, given.rounds, given.few, given.many)
        profile(node, pool[: 2 * given.many])
        deploys(node, given.rounds)
    finally:
        node_down(given.home / "node")


if __name__ == "__main__":
    main()
