"""The figures of docs/corpus.md: the loader's memory, top-k over blocks, Wikipedia extraction.

    python benchmarks/corpus.py loader --folder build/bench [--scale 0.1] [--trove PYTHON]
    python benchmarks/corpus.py topk
    python benchmarks/corpus.py wikipedia --folder build/bench

Every contender runs in a process of its own; memory is the kernel's peak resident size of that process (mapped pages
count).
"""

from __future__ import annotations

import argparse
import bz2
import heapq
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

CANDIDATES = 8
BATCH, BATCHES = 32, 200
CONTENDERS = Path(__file__).with_name("corpus_contenders.py")


def make_dataset(path: Path, documents: int, queries: int) -> None:
    """Synthetic texts of about 330 bytes, 8 judged documents for each query; written without holding them."""
    import polars as pl

    from osparse.contracts.dataset import Source, save_dataset

    if (path / "manifest.json").is_file():
        return
    words = " ".join(f"word{i}" for i in range(40))
    texts = pl.LazyFrame({"n": pl.Series(range(documents), dtype=pl.Int64)}).select(
        id=pl.format("d{}", "n"),
        title=pl.lit(""),
        text=pl.format("document {} " + words + " {}", "n", pl.col("n") * 7919 % 100_003),
        lang=pl.lit("en"),
        date=pl.lit(None, pl.Date),
        source=pl.lit("synthetic"),
        group=pl.format("d{}", "n"),
    )
    asked = pl.LazyFrame({"n": pl.Series(range(queries), dtype=pl.Int64)})
    judged = pl.concat(
        [
            asked.select("n", d=(pl.col("n") * 104_729 + i * 15_485_863) % min(documents, 2_000_000))
            for i in range(CANDIDATES)
        ]
    )
    save_dataset(
        path,
        documents=texts,
        queries=asked.select(
            id=pl.format("q{}", "n"),
            text=pl.format("query number {}", "n"),
            lang=pl.lit("en"),
            date=pl.lit(None, pl.Date),
        ),
        qrels={
            "train": judged.select(
                query_id=pl.format("q{}", "n"),
                document_id=pl.format("d{}", "d"),
                score=pl.lit(1.0),
                origin=pl.lit("annotated"),
            ).sort("query_id")
        },
        sources=[Source("synthetic", "none", documents, documents, {}, "0" * 64)],
        split_rule="all train",
        seed=0,
    )


def contender(name: str, *arguments: object, python: str = sys.executable) -> dict[str, Any]:
    """Run one contender of a comparison; its last line is JSON."""
    command = [python, str(CONTENDERS), name, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def loader(folder: Path, scale: float, trove: str | None) -> None:
    documents, queries = int(2_000_000 * scale), int(1_000_000 * scale)
    small, large = folder / f"loader-{documents}", folder / f"loader-{2 * documents}"
    make_dataset(small, documents, queries)
    make_dataset(large, 2 * documents, queries)
    large_rows = f"{2 * documents:,} documents"
    found = {
        "dictionaries": contender("dictionaries", small),
        "osparse, nothing cached": contender("osparse", small, folder / "cache-small"),
        "osparse, cached": contender("osparse", small, folder / "cache-small"),
        f"osparse, nothing cached, {large_rows}": contender("osparse", large, folder / "cache-large"),
        f"osparse, cached, {large_rows}": contender("osparse", large, folder / "cache-large"),
    }
    if trove:
        contender("export", small, folder / "trove-files")
        for name in ("Trove, first run", "Trove, cached"):
            found[name] = contender("trove", folder / "trove-files", folder / "trove-cache", python=trove)
    print(f"{queries:,} queries x {CANDIDATES} candidates over {documents:,} documents; batches of {BATCH} queries\n")
    print("| loader | peak, GB | private at the end, GB | open, CPU s (wall) | first batch, CPU s | texts per CPU s |")
    print("|---|---|---|---|---|---|")
    for name, row in found.items():
        open_s = f"{row['open']:.2f} ({row['wall']:.1f})"
        sizes = f"{row['peak'] / 1e9:.2f} | {row['private'] / 1e9:.2f}"
        print(f"| {name} | {sizes} | {open_s} | {row['first']:.3f} | {row['texts_per_s']:,.0f} |")
    for name in ("osparse, nothing cached", "osparse, cached"):
        ratio = found["dictionaries"]["peak"] / found[name]["peak"]
        more = found[f"{name}, {large_rows}"]["peak"] - found[name]["peak"]
        print(f"\n{name}: {ratio:.1f} times less than dictionaries; {documents:,} more documents: {more / 1e9:+.2f} GB")


def topk(queries: int = 64, documents: int = 400_000, block: int = 20_000, k: int = 100) -> None:
    """On scores in memory: heapq as in BEIR's exact search (push, or replace the smallest), and TopK."""
    from osparse.evaluation.top_k import TopK

    scores = np.random.default_rng(0).standard_normal((queries, documents), dtype=np.float32)
    scores = np.round(scores * 1000) / np.float32(1000)  # ties
    started = time.process_time()
    top = TopK(queries, k)
    for start in range(0, documents, block):
        top.add(scores[:, start : start + block], start)
    found, numbers = top.result()
    packed = time.process_time() - started
    heaps = {}
    some = 8  # heapq is linear in queries
    started = time.process_time()
    heap: list[tuple[float, int]]
    for row in range(some):
        heap = []
        for start in range(0, documents, block):
            for place, score in enumerate(scores[row, start : start + block].tolist(), start):
                item = (score, -place)
                if len(heap) < k:
                    heapq.heappush(heap, item)
                elif item > heap[0]:
                    heapq.heapreplace(heap, item)
        heaps[row] = sorted(heap, reverse=True)
    python = (time.process_time() - started) * queries / some
    for row, heap in heaps.items():
        if [(s, -n) for s, n in zip(found[row].tolist(), numbers[row].tolist(), strict=True)] != heap:
            sys.exit("the two disagree")
    started = time.process_time()
    order = np.argsort(-scores[:some], axis=1, kind="stable")[:, :k]
    sorted_all = (time.process_time() - started) * queries / some
    if not np.array_equal(order, numbers[:some]):
        sys.exit("the full sort disagrees")
    print(
        f"{queries} queries x {documents:,} scores in blocks of {block:,}, k = {k}, with ties; all equal a full sort\n"
    )
    print("| way | seconds | times heapq |\n|---|---|---|")
    for name, seconds in (
        ("heapq", python),
        ("full stable sort", sorted_all),
        ("osparse.evaluation.top_k.TopK", packed),
    ):
        print(f"| {name} | {seconds:.2f} | {python / seconds:.1f} |")


def wiki_pages(count: int) -> Iterator[str]:
    """Articles as dumps have them: an infobox, references, links, a table, a list, headings; made-up Korean words."""
    rng = random.Random(0)
    syllables = [chr(0xAC00 + rng.randrange(11_172)) for _ in range(900)]
    words = ["".join(rng.choices(syllables, k=rng.randint(1, 4))) for _ in range(20_000)]

    def sentence() -> str:
        parts = rng.choices(words, k=rng.randint(8, 16))
        parts[rng.randrange(len(parts))] = f"[[{rng.choice(words)}|{rng.choice(words)}]]"
        parts[rng.randrange(len(parts))] = f"[[{rng.choice(words)}]]은"
        if rng.random() < 0.3:
            parts.append(
                "&lt;ref&gt;{{웹 인용|url=http://example.org/a|제목="
                + rng.choice(words)
                + "|날짜=2020-01-01}}&lt;/ref&gt;"
            )
        return " ".join(parts) + "."

    for number in range(count):
        box = (
            "{{상자\n"
            + "".join(f"| {rng.choice(words)} = {{{{날짜|{i}}}}} [[{rng.choice(words)}]]\n" for i in range(8))
            + "}}\n"
        )
        body = f"'''{words[number % 20_000]}'''({{{{llang|en|word {number}}}}})는 "
        for heading in range(rng.randint(2, 7)):
            body += "\n\n".join(" ".join(sentence() for _ in range(rng.randint(2, 6))) for _ in range(2))
            body += f"\n\n== {words[heading]} ==\n"
        table = (
            '{| class="wikitable"\n! 가 !! 나\n'
            + "".join(f"|-\n| {rng.choice(words)} || {rng.choice(words)}\n" for _ in range(10))
            + "|}\n"
        )
        items = "".join(f"* [[{rng.choice(words)}]]\n" for _ in range(6))
        text = f"{box}{body}{table}\n{items}\n== 각주 ==\n{{{{각주}}}}\n[[분류:{rng.choice(words)}]]"
        yield (
            f"<page><title>{words[number % 20_000]} {number}</title><ns>0</ns><id>{number + 1}</id><revision><id>1</id>"
            f"<timestamp>2024-03-01T00:00:00Z</timestamp><model>wikitext</model><text>{text}</text></revision></page>\n"
        )


def wikipedia(folder: Path, count: int = 6000) -> None:
    """CPU seconds of one core from the compressed dump to clean text, by three ways of cleaning the same pages."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"dump-{count}.xml.bz2"
    if not path.is_file():
        with path.open("wb") as file:
            file.write(bz2.compress(b'<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" xml:lang="ko">\n'))
            pages = list(wiki_pages(count))
            for start in range(0, count, 100):
                file.write(bz2.compress("".join(pages[start : start + 100]).encode()))
            file.write(bz2.compress(b"</mediawiki>\n"))
    size = path.stat().st_size
    print(f"{count:,} generated articles, {size / 1e6:.1f} MB compressed\n")
    print("| cleaning | compressed MB/s of one core | articles/s | peak memory, GB |\n|---|---|---|---|")
    for name in ("none", "osparse", "mwparserfromhell"):
        found = contender("wikipedia", path, name)
        print(
            f"| {name} | {size / 1e6 / found['cpu']:.2f} | {found['articles'] / found['cpu']:,.0f} "
            f"| {found['peak'] / 1e9:.2f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["loader", "topk", "wikipedia"])
    parser.add_argument("--folder", type=Path, default=Path("build/bench"))
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--trove", metavar="PYTHON", help="a Python that has ir-trove, to measure beside it")
    given = parser.parse_args()
    ways: dict[str, Callable[[], None]] = {
        "loader": lambda: loader(given.folder, given.scale, given.trove),
        "topk": topk,
        "wikipedia": lambda: wikipedia(given.folder),
    }
    ways[given.what]()


if __name__ == "__main__":
    main()
