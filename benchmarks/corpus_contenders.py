"""One contender of a comparison of benchmarks/corpus.py, in a process of its own; prints one line of JSON."""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from child import resident

BATCH, BATCHES = 32, 200


def peak() -> int:
    return resident()[1]


def private() -> int:
    """Bytes that no file backs: what the kernel cannot drop and processes do not share."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["RssAnon"].split()[0]) * 1024


def measured(opened: Callable[[], Any], base: int) -> None:
    """Open, then read batches of random queries with all their texts."""
    started, cpu = time.perf_counter(), time.process_time()
    count, example = opened()
    at, ready = time.perf_counter(), time.process_time()
    order = random.Random(0)
    texts = 0
    first = 0.0
    for _ in range(BATCHES):
        texts += sum(example(order.randrange(count)) for _ in range(BATCH))
        first = first or time.process_time() - ready
    seconds = time.process_time() - ready
    found = {
        "wall": at - started,
        "open": ready - cpu,
        "first": first,
        "texts_per_s": texts / seconds,
    }
    print(json.dumps({**found, "peak": peak(), "base": base, "private": private()}))


def osparse(dataset: str, cache: str) -> None:
    from osparse.contracts.dataset import Dataset
    from osparse.corpus.pairs.selection import Selection
    from osparse.corpus.pairs.store import Store

    def opened() -> Any:
        store = Store.open([Selection(Dataset.open(dataset))], cache=Path(cache))
        return len(store), lambda number: len(store[number].documents)

    measured(opened, peak())


def dictionaries(dataset: str) -> None:
    """The plain way: texts by id, and {query: {document: score}}, in Python's own dictionaries."""
    import pyarrow as pa
    import pyarrow.ipc

    def rows(name: str, *columns: str) -> Any:
        with pa.memory_map(f"{dataset}/{name}.arrow") as file:
            reader = pa.ipc.open_file(file)
            for i in range(reader.num_record_batches):
                batch = reader.get_batch(i)
                yield from zip(*(batch.column(column).to_pylist() for column in columns), strict=True)

    def opened() -> Any:
        texts = dict(rows("documents", "id", "text"))
        queries = dict(rows("queries", "id", "text"))
        qrels: dict[str, dict[str, float]] = {}
        for query, document, score in rows("qrels.train", "query_id", "document_id", "score"):
            qrels.setdefault(query, {})[document] = score
        names = list(qrels)

        def example(number: int) -> int:
            found = [(texts[document], score) for document, score in qrels[names[number]].items()]
            return len(found) if queries[names[number]] else 0

        return len(names), example

    measured(opened, peak())


def export(dataset: str, folder: str) -> None:
    """The same rows in the files Trove reads."""
    import polars as pl

    from osparse.contracts.dataset import Dataset

    made, path = Dataset.open(dataset), Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    if not (path / "qrels.tsv").is_file():
        made.documents.select(_id="id", title=pl.lit(""), text="text").sink_ndjson(path / "corpus.jsonl")
        made.queries.select(_id="id", text="text").sink_ndjson(path / "queries.jsonl")
        judged = made.qrels("train").select(
            pl.col("query_id").alias("query-id"),
            pl.col("document_id").alias("corpus-id"),
            pl.col("score").cast(pl.Int64),
        )
        judged.sink_csv(path / "qrels.tsv", separator="\t")
    print("{}")


def trove(folder: str, cache: str) -> None:
    """Trove's MaterializedQRel on the exported files, by its public calls."""
    import os

    os.environ.update(HF_HOME=cache, HF_DATASETS_CACHE=cache, TROVE_CACHE_DIR=cache, WANDB_MODE="disabled")
    from trove import MaterializedQRel, MaterializedQRelConfig

    files = {
        "qrel_path": f"{folder}/qrels.tsv",
        "corpus_path": f"{folder}/corpus.jsonl",
        "query_path": f"{folder}/queries.jsonl",
    }

    def opened() -> Any:
        qrel = MaterializedQRel(args=MaterializedQRelConfig(**files), num_proc=1)
        names = qrel.get_global_qids()

        def example(number: int) -> int:
            query, documents = qrel.get_related_recs_for_global_qid(names[number], materialize=True)
            return len(documents) if query else 0

        return len(names), example

    measured(opened, peak())


def wikipedia(path: str, cleaning: str) -> None:
    from osparse.corpus.sources.published.wikipedia import _pages
    from osparse.corpus.sources.published.wikitext import plain_text
    from osparse.io.streams import opened

    if cleaning == "mwparserfromhell":
        import mwparserfromhell

        clean: Callable[[str], str] = lambda text: str(mwparserfromhell.parse(text).strip_code())  # noqa: E731
    else:
        clean = plain_text if cleaning == "osparse" else str
    started, articles = time.process_time(), 0
    with opened(Path(path)) as file:
        for _, page in _pages(file, Path(path)):
            articles += bool(clean(page["text"]))
    print(json.dumps({"cpu": time.process_time() - started, "articles": articles, "peak": peak()}))


if __name__ == "__main__":
    {f.__name__: f for f in (osparse, dictionaries, export, trove, wikipedia)}[sys.argv[1]](*sys.argv[2:])
