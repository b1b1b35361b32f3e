"""A shop's products, made in code: a CSV of 5,000 rows, judged queries, and an index as a shop has it without osparse.

    python examples/products.py build/shop                                            # products.csv, judged/
    python examples/products.py build/shop --cluster http://localhost:9210 --index products-v7

The second form also makes the index with its own mapping (examples/products_mapping.json) and loads it by _bulk. The
same seed gives the same rows.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROWS = 5000
SEED = 7
MAPPING = Path(__file__).with_name("products_mapping.json")
KINDS = {
    "audio": ["headphones", "music player", "radio", "microphone", "loudspeaker"],
    "input": ["keyboard", "mouse", "joystick", "graphics tablet", "scanner"],
    "network": ["wireless adapter", "network card", "router", "modem", "ethernet switch"],
    "storage": ["hard disk", "backup drive", "memory card", "tape drive", "disk enclosure"],
    "display": ["monitor", "projector", "printer", "photo frame", "television"],
}
QUALITIES = ["quiet", "portable", "fast", "cheap", "secure", "compact", "colour", "wireless", "professional", "simple"]
USES = ["the office", "video editing", "games", "travel", "a small server", "music", "old computers", "photographs"]
BRANDS = ["Acme", "Bergfeld", "Corvus", "Dain", "Elm and Sons", "Fjord", "Gaon", "Hanbit"]


def products(rows: int = ROWS, seed: int = SEED) -> Iterator[dict[str, Any]]:
    """Rows with a stock keeping unit and eight typed columns."""
    chance = random.Random(seed)
    for number in range(rows):
        category = chance.choice([*KINDS])
        kind, quality, other = chance.choice(KINDS[category]), *chance.sample(QUALITIES, 2)
        yield {
            "sku": f"P{number:05}",
            "name": f"{quality} {kind}",
            "description": f"A {quality} and {other} {kind} for {chance.choice(USES)}.",
            "brand": chance.choice(BRANDS),
            "category": category,
            "price": round(chance.lognormvariate(4, 1), 2),
            "stock": chance.randrange(0, 200),
            "released": f"{chance.randrange(2015, 2027)}-{chance.randrange(1, 13):02}-{chance.randrange(1, 29):02}",
            "available": chance.random() < 0.9,
        }


def write(folder: Path, rows: list[dict[str, Any]]) -> None:
    """products.csv, and a BEIR folder with a judged query for each kind and quality that there is."""
    judged = folder / "judged"
    (judged / "qrels").mkdir(parents=True, exist_ok=True)
    with (folder / "products.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, [*rows[0]])
        table.writeheader()
        table.writerows({**row, "available": str(row["available"]).lower()} for row in rows)
    documents = [{"_id": row["sku"], "text": f"{row['name']}. {row['description']}"} for row in rows]
    names = sorted({row["name"] for row in rows})
    queries = [{"_id": f"q{number}", "text": name} for number, name in enumerate(names)]
    for name, lines in (("corpus", documents), ("queries", queries)):
        (judged / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    numbers = {name: f"q{number}" for number, name in enumerate(names)}
    qrels = [f"{numbers[row['name']]}\t{row['sku']}\t1" for row in rows]
    text = "\n".join(["query-id\tcorpus-id\tscore", *qrels]) + "\n"
    (judged / "qrels" / "test.tsv").write_text(text, encoding="utf-8")


def load(cluster: str, index: str, rows: list[dict[str, Any]]) -> None:
    """Make the index with the shop's own mapping and the alias ``products``, and load it."""
    _send("PUT", f"{cluster}/{index}", MAPPING.read_bytes(), "application/json")
    for start in range(0, len(rows), 1000):
        lines: list[dict[str, Any]] = []
        for row in rows[start : start + 1000]:
            source = {name: value for name, value in row.items() if name != "sku"}
            lines += [{"index": {"_id": row["sku"]}}, source]
        body = "".join(json.dumps(line) + "\n" for line in lines).encode()
        answer = _send("POST", f"{cluster}/{index}/_bulk?refresh=true", body, "application/x-ndjson")
        if answer["errors"]:
            raise SystemExit(f"{index} refused documents: {json.dumps(answer)[:300]}")


def _send(method: str, url: str, body: bytes, kind: str) -> Any:
    request = urllib.request.Request(url, body, {"content-type": kind}, method=method)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cluster", help="URL of a cluster without credentials")
    parser.add_argument("--index", default="products-v7")
    options = parser.parse_args()
    rows = [*products()]
    write(options.folder, rows)
    sys.stdout.write(f"{options.folder}: {len(rows):,} products in products.csv, judged queries in judged/\n")
    if options.cluster:
        load(options.cluster, options.index, rows)
        sys.stdout.write(f"{options.index}: {len(rows):,} documents under the alias products\n")


if __name__ == "__main__":
    main()
