"""What filters, sorting, aggregations and highlights cost a search: a deployed index in the real embedded OpenSearch.

    python benchmarks/filters.py --bundle build/quickstart/bundle --dataset build/quickstart/dataset \\
        --cluster http://127.0.0.1:9210 --index filters [--queries 200] [--copies 8]

Each document gets a number from 0 to 999 by its id (``bucket``), so that ``bucket < 500``, ``< 50`` and ``< 5`` keep
50, 5 and 0.5 % of them, and ``part``, the same as one keyword of three. The variants take turns query by query, so that
a busy moment slows all of them. Times are whole calls of Searcher.search for ten hits, and what the server took of it.
An index that holds all documents already is not loaded again. ``--copies 8`` stores each encoded document eight times
under ids of its own: posting lists as long as those of an index eight times as large, without encoding that many texts.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from osparse.contracts.bundle import Bundle
from osparse.contracts.dataset import Dataset
from osparse.deployer import Cluster, deploy, index_documents, open_cluster
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.load.bulk import Line, send_bulk
from osparse.retrieval import Searcher

VARIANTS: dict[str, dict[str, Any]] = {
    "no filter": {},
    "keeps 50 %": {"filter": "bucket < 500"},
    "keeps 5 %": {"filter": "bucket < 50"},
    "keeps 0.5 %": {"filter": "bucket < 5"},
    "keeps 5 %, keyword": {"filter": "part:b"},
    "keeps 5 %, not twice, or, date": {"filter": "bucket < 50 and (part:b or not exists title) and not date < 1970"},
    "sorted by a number": {"sort": "bucket"},
    "5 %, sorted by a number": {"filter": "bucket < 50", "sort": "bucket"},
    "terms aggregation": {"aggregations": {"parts": {"terms": {"field": "part"}}}},
    "highlights": {"highlight": True},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--cluster", default="http://127.0.0.1:9210")
    parser.add_argument("--index", default="filters")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--copies", type=int, default=1, help="how often each document is stored")
    given = parser.parse_args()
    cluster, data = open_cluster(given.cluster), Dataset.open(given.dataset)
    loaded(cluster, Bundle.open(given.bundle), data, given.index, given.copies)
    texts: list[str] = data.queries.collect()["text"].to_list()
    step = max(1, len(texts) // given.queries)
    measure(Searcher(cluster, given.index), texts[::step][: given.queries])


def loaded(cluster: Cluster, bundle: Bundle, data: Dataset, index: str, copies: int) -> None:
    deploy(bundle, cluster, index)
    documents, api = data.documents.collect(), ClusterApi(cluster)
    if api.count(index) >= len(documents) * copies:
        return
    columns = documents.select("id", "title", "text", "lang", "date").iter_rows(named=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "documents.jsonl"
        with path.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in map(row_of, columns))
        index_documents(cluster, index, [path])  # types the fields: bucket a number, part a keyword
    api.refresh(index)
    rows = [hit for hits in api.pages(index, 1000, {"excludes": []}) for hit in hits]
    for copy in range(1, copies):
        for start in range(0, len(rows), 500):
            some = [copied(row, copy) for row in rows[start : start + 500]]
            if failed := send_bulk(api, index, some):
                raise SystemExit(f"{failed[0].id}: {failed[0].reason}")
    api.refresh(index)


def copied(hit: dict[str, Any], copy: int) -> Line:
    document = f"{hit['_id']}-{copy}"
    return Line(document, {**hit["_source"], **grouped(document)})


def row_of(document: dict[str, Any]) -> dict[str, Any]:
    source = {name: str(value) for name, value in document.items() if value is not None}
    return {**source, **grouped(source["id"])}


def grouped(document: str) -> dict[str, Any]:
    bucket = int(hashlib.md5(document.encode()).hexdigest(), 16) % 1000
    return {"bucket": bucket, "part": "a" if bucket < 5 else "b" if bucket < 55 else "c"}


def measure(searcher: Searcher, texts: list[str]) -> None:
    whole: dict[str, list[float]] = {name: [] for name in VARIANTS}
    server: dict[str, list[float]] = {name: [] for name in VARIANTS}
    hits: dict[str, list[int]] = {name: [] for name in VARIANTS}
    for number, text in enumerate([*texts[:20], *texts]):
        for name, options in VARIANTS.items():
            started = time.perf_counter()
            answer = searcher.search(text, **options)
            if number >= 20:  # the first twenty warm up
                whole[name].append((time.perf_counter() - started) * 1000)
                server[name].append(answer.took_ms)
                hits[name].append(len(answer.hits))
    documents = ClusterApi(searcher.cluster).count(searcher.index)
    print(f"{documents:,} documents, {len(texts)} queries\n")
    print(
        "| search | documents kept | hits | P50 ms | P95 ms | of it in the server, P50 ms |\n|---|---|---|---|---|---|"
    )
    for name, options in VARIANTS.items():
        clauses = [part.clause for part in searcher.parts(options.get("filter"))]
        kept = ClusterApi(searcher.cluster).count(searcher.index, {"bool": {"filter": clauses}})
        p50, p95 = np.percentile(whole[name], [50, 95])
        print(
            f"| {name} | {kept:,} ({kept / documents:.1%}) | {np.mean(hits[name]):.1f} | {p50:.1f} | {p95:.1f} | "
            f"{np.median(server[name]):.0f} |"
        )


if __name__ == "__main__":
    main()
