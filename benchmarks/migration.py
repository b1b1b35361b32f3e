"""The adoption of an index on the real node while a writer and readers use it: how long, and what they notice.

    python benchmarks/migration.py [--bundle BUNDLE] [--lists FOLDER] [--documents 61000]

The old index holds that many English package descriptions of this machine's Debian, fetched like `osparse corpus build
--source debian` fetches them, made without osparse, under an alias. A writer indexes, replaces and deletes documents
through the alias, five at a time; two readers ask by words. At the end every document is compared with what the writer
was acknowledged, and the vectors of every fiftieth with what the encoder makes of its text. Without --bundle a small
encoder made for tests is used: the migration, not the model, is on trial. Exits 3 if a document is lost, doubled, stale
or has another text's vector, or if a query or a write failed. Times are this machine's and of that hour.
"""

from __future__ import annotations

import argparse
import json
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

from fault_load import write_documents  # noqa: E402
from lookup_bundle import make_lookup_bundle  # noqa: E402
from migration_work import Document, Reader, Writer, working  # noqa: E402

from osparse.contracts.bundle import Bundle  # noqa: E402
from osparse.contracts.deployment import FIELD, feature_name  # noqa: E402
from osparse.corpus.sources.published.apt import fetch_lists, find_lists  # noqa: E402
from osparse.deployer import Adoption, Cluster, deploy, node_down, node_up, open_cluster, status  # noqa: E402
from osparse.deployer.cluster.api import ClusterApi  # noqa: E402
from osparse.deployer.load.documents import HASH_FIELD  # noqa: E402
from osparse.deployer.mlcommons.proof import largest_difference  # noqa: E402
from osparse.encoders.onnx_encoder import OnnxEncoder  # noqa: E402

OLD, NAME = "migrated-v1", "migrated"
SERVING = {"text_template": "{body}"}
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


def documents(lists: list[Path], folder: Path, count: int) -> dict[str, Document]:
    write_documents(lists, folder / "documents.jsonl")
    with (folder / "documents.jsonl").open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in islice(file, count)]
    return {
        row["id"]: {"body": row["text"], "lang": row["lang"], "number": number, "price": number / 4}
        for number, row in enumerate(rows)
    }


def fill(cluster: Cluster, stored: dict[str, Document]) -> None:
    cluster.request("PUT", f"/{OLD}", body=BODY)
    names, loader = [*stored], Writer(cluster.url, OLD, {}, lambda number: {})
    for start in range(0, len(names), 1000):
        loader.write({name: stored[name] for name in names[start : start + 1000]})
    ClusterApi(cluster).refresh(OLD)


def compared(cluster: Cluster, expected: dict[str, Document]) -> dict[str, int]:
    """Documents that are lost, doubled, stale, or left over."""
    api = ClusterApi(cluster)
    api.refresh(NAME)
    hits = [hit for page in api.pages(NAME, 1000, {"excludes": [FIELD]}) for hit in page]
    own = (HASH_FIELD, "text")
    served = {hit["_id"]: {name: value for name, value in hit["_source"].items() if name not in own} for hit in hits}
    return {
        "lost": len(expected.keys() - served.keys()),
        "doubled": len(hits) - len(served),
        "stale": sum(served[name] != source for name, source in expected.items() if name in served),
        "deleted and there": len(served.keys() - expected.keys()),
    }


def other_vectors(cluster: Cluster, bundle: Bundle, index: str) -> dict[str, int]:
    """Of every fiftieth document: those whose vector is not that of their text."""
    api, encoder = ClusterApi(cluster), OnnxEncoder.open(bundle)
    style = status(cluster, index)[0].deployment.key_style
    sources = [hit["_source"] for page in api.pages(NAME, 1000, {"includes": ["body", FIELD]}) for hit in page[::50]]
    wrong = 0
    for source, made in zip(sources, encoder.encode([source["body"] for source in sources]), strict=True):
        expected = {feature_name(token, style): weight for token, weight in made.items()}
        stored = {name: float(weight) for name, weight in source.get(FIELD, {}).items()}
        wrong += largest_difference(stored, expected)[1] > 1e-4
    return {"vectors looked at": len(sources), "vectors of another text": wrong}


def report(rows: dict[str, Any]) -> None:
    sys.stdout.write("| | |\n|---|---|\n")
    for name, value in rows.items():
        sys.stdout.write(f"| {name} | {f'{value:,}' if isinstance(value, int) else value} |\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--lists", type=Path, help="a folder of apt lists, instead of fetching them")
    parser.add_argument("--documents", type=int, default=61_000)
    options = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="osparse-migration-"))
    try:
        lists = find_lists(options.lists) if options.lists else fetch_lists(home)
        (home / "bundle").mkdir()
        bundle = Bundle.open(options.bundle) if options.bundle else make_lookup_bundle(home / "bundle")
        stored = documents(lists, home, options.documents)
        node = node_up(home / "node", port=0, tied=True)
        rows = measure(open_cluster(node.url), bundle, stored)
    finally:
        node_down(home / "node")
        shutil.rmtree(home, ignore_errors=True)
    report(rows)
    faults = (
        "failed writes",
        "failed queries",
        "lost",
        "doubled",
        "stale",
        "deleted and there",
        "vectors of another text",
    )
    raise SystemExit(3 if any(rows[name] for name in faults) else 0)


def measure(cluster: Cluster, bundle: Bundle, stored: dict[str, Document]) -> dict[str, Any]:
    fill(cluster, stored)
    texts = [*stored.values()]
    writer = Writer(cluster.url, NAME, stored, lambda n: {**texts[n % len(texts)], "number": -n})
    writer.pause = 0.1
    words = " ".join(str(texts[0]["body"]).split()[:4])
    body = {"size": 10, "_source": ["body"], "query": {"match": {"body": words}}}
    readers = [Reader(cluster.url, NAME, body) for _ in range(2)]
    for reader in readers:
        reader.pause = 0.05
    with working(writer, *readers):
        time.sleep(2)
        started = time.monotonic()
        result = deploy(bundle, cluster, NAME, serving=SERVING, adoption=Adoption(NAME))
        seconds = time.monotonic() - started
    deploy(bundle, cluster, NAME, serving=SERVING, adoption=Adoption(NAME))
    asked = sorted(second for reader in readers for second in reader.seconds)
    shown = statistics.median(asked), asked[len(asked) * 95 // 100], asked[-1]
    return {
        "documents": len(stored),
        "from the start to the move of the name": f"{seconds:.0f} s ({len(stored) / seconds:.0f} documents/s)",
        "documents written meanwhile": writer.acknowledged,
        "failed writes": len(writer.failed),
        "longest time in which writes were refused": f"{writer.longest:.2f} s",
        "queries": len(asked),
        "failed queries": sum(len(reader.failed) for reader in readers),
        "query p50, p95, slowest": ", ".join(f"{1000 * second:.0f}" for second in shown) + " ms",
        **compared(cluster, writer.expected),
        **other_vectors(cluster, bundle, result.plan.index),
        "osparse says": "; ".join(result.notes),
    }


if __name__ == "__main__":
    main()
