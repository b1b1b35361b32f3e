"""The adoption of an index on the real node while a writer and readers use it: how long, and what they notice.

    python benchmarks/migration.py [--bundle BUNDLE] [--dataset DATASET] [--documents 61000]

The old index holds the first documents of the dataset, made without osparse, under an alias. A writer indexes, replaces
and deletes documents through the alias, five at a time; two readers ask by words. At the end every document is compared
with what the writer was acknowledged. Times are this machine's and of that hour.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from migration_work import Document, Reader, Writer, working  # noqa: E402

from osparse.contracts.bundle import Bundle  # noqa: E402
from osparse.contracts.dataset import Dataset  # noqa: E402
from osparse.contracts.deployment import FIELD  # noqa: E402
from osparse.deployer import Adoption, Cluster, deploy, node_down, node_up, open_cluster  # noqa: E402
from osparse.deployer.cluster.api import ClusterApi  # noqa: E402
from osparse.deployer.load.documents import HASH_FIELD  # noqa: E402
from osparse.io.tables import row_batches  # noqa: E402

OLD, NAME = "migrated-v1", "migrated"
BODY = {
    "settings": {"number_of_replicas": 0},
    "aliases": {NAME: {}},
    "mappings": {
        "properties": {
            "body": {"type": "text"},
            "lang": {"type": "keyword"},
            "number": {"type": "long"},
            "price": {"type": "double"},
        }
    },
}


def documents(dataset: Path, count: int) -> dict[str, Document]:
    rows = (
        row
        for batch in row_batches(Dataset.open(dataset).documents.select("id", "text", "lang"), 1000)
        for row in batch
    )
    return {
        str(name): {"body": text, "lang": lang, "number": number, "price": number / 4}
        for number, (name, text, lang) in enumerate(islice(rows, count))
    }


def fill(cluster: Cluster, stored: dict[str, Document]) -> None:
    cluster.request("DELETE", f"/{OLD}", allow=(404,))
    cluster.request("PUT", f"/{OLD}", body=BODY)
    names, loader = [*stored], Writer(cluster.url, OLD, {}, lambda number: {})
    for start in range(0, len(names), 1000):
        loader.write({name: stored[name] for name in names[start : start + 1000]})


def compared(cluster: Cluster, expected: dict[str, Document]) -> dict[str, int]:
    """Documents that are lost, doubled, stale, or left over."""
    api = ClusterApi(cluster)
    api.refresh(NAME)
    hits = [hit for page in api.pages(NAME, 1000, {"excludes": [FIELD]}) for hit in page]
    found = {
        hit["_id"]: {k: v for k, v in hit["_source"].items() if k not in (HASH_FIELD, "text")} for hit in hits
    }  # fmt: skip
    return {
        "lost": len(expected.keys() - found.keys()),
        "doubled": len(hits) - len(found),
        "stale": sum(found[name] != source for name, source in expected.items() if name in found),
        "deleted and there": len(found.keys() - expected.keys()),
    }


def report(rows: dict[str, Any]) -> None:
    for name, value in rows.items():
        sys.stdout.write(f"{name:36} {value}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=ROOT / "build" / "quickstart" / "bundle")
    parser.add_argument("--dataset", type=Path, default=ROOT / "build" / "quickstart" / "dataset")
    parser.add_argument("--documents", type=int, default=61_000)
    options = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="osparse-migration-"))
    node = node_up(home / "node", port=0, tied=True)
    try:
        measure(open_cluster(node.url), Bundle.open(options.bundle), documents(options.dataset, options.documents))
    finally:
        node_down(home / "node")
        shutil.rmtree(home, ignore_errors=True)


def measure(cluster: Cluster, bundle: Bundle, stored: dict[str, Document]) -> None:
    fill(cluster, stored)
    texts = [*stored.values()]
    writer = Writer(cluster.url, NAME, stored, lambda n: {**texts[n % len(texts)], "number": -n})
    writer.pause = 0.1
    words = {"size": 10, "query": {"match": {"body": " ".join(str(texts[0]["body"]).split()[:4])}}}
    readers = [Reader(cluster.url, NAME, words) for _ in range(2)]
    for reader in readers:
        reader.pause = 0.05
    with working(writer, *readers):
        time.sleep(2)
        started = time.monotonic()
        result = deploy(bundle, cluster, NAME, serving={"text_template": "{body}"}, adoption=Adoption(NAME))
        seconds = time.monotonic() - started
    deploy(bundle, cluster, NAME, serving={"text_template": "{body}"}, adoption=Adoption(NAME))
    asked = sorted(second for reader in readers for second in reader.seconds)
    shown = statistics.median(asked), asked[len(asked) * 95 // 100], asked[-1]
    report(
        {
            "documents": f"{len(stored):,}",
            "seconds from start to switch": f"{seconds:.0f} ({len(stored) / seconds:.0f} documents/s)",
            "documents written meanwhile": f"{writer.acknowledged:,}",
            "longest refusal of a write": f"{writer.longest:.2f} s",
            "failed writes": len(writer.failed),
            "queries": f"{len(asked):,}",
            "failed queries": sum(len(reader.failed) for reader in readers),
            "query p50, p95, slowest": "{:.3f}, {:.3f}, {:.3f} s".format(*shown),
            **compared(cluster, writer.expected),
            "notes": "; ".join(result.notes),
        }
    )


if __name__ == "__main__":
    main()
