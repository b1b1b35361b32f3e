"""Load every English package description of this machine's Debian through a network that fails, into the real node.

    python benchmarks/fault_load.py [--bundle build/quickstart/bundle] [--share 0.05]

About 61,000 documents, fetched like `osparse corpus build --source debian` fetches them; nothing of them is shipped. A
proxy answers 429 or 503, or resets the connection before or after the server did its work, in that share of all calls.
The first load is killed (SIGKILL) when it is about 40 % through; the next resumes; a third finds nothing to do. Then
every document's stored content hash is compared with the file's. Without --bundle a small encoder made for tests is
used: the network, not the model, is on trial. Exits 3 unless every document is there exactly once, with its content.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from fault_proxy import FaultProxy, Trouble, at_random, fault_proxy  # noqa: E402
from lookup_bundle import make_lookup_bundle  # noqa: E402

from osparse.contracts.bundle import Bundle  # noqa: E402
from osparse.corpus.sources.published.apt import fetch_lists, find_lists, stanzas  # noqa: E402
from osparse.corpus.sources.published.debian import fold  # noqa: E402
from osparse.deployer import Cluster, deploy, node_down, node_up  # noqa: E402
from osparse.deployer.load.documents import HASH_FIELD, DocumentRow, read_documents  # noqa: E402

NAME = "descriptions"
TROUBLES = [Trouble("status", 429, "1"), Trouble("status", 503), Trouble("reset"), Trouble("drop"), Trouble("lose")]


def write_documents(lists: list[Path], path: Path) -> int:
    """Every distinct English description once, by its md5."""
    seen: set[str] = set()
    with path.open("w", encoding="utf-8") as file:
        for one in lists:
            for _, stanza in stanzas(one) if "_Translation-en" in one.name else ():
                md5, (title, *lines) = stanza["Description-md5"][0], stanza["Description-en"]
                if md5 not in seen:
                    seen.add(md5)
                    row = {"id": f"deb:{md5}", "title": title, "text": fold(lines), "lang": "en"}
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return len(seen)


def load(url: str, path: Path, workers: int) -> subprocess.Popen[str]:
    command = [str(Path(sys.executable).with_name("osparse")), "index", "--json", "--cluster", url, "--index", NAME]
    command += [str(path), "--workers", str(workers), "--failures", str(path.with_name("failed.jsonl"))]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def killed(proxy: FaultProxy, path: Path, total: int, workers: int) -> int:
    """Start a load, kill it on its way; how many documents were there then."""
    cluster, process = Cluster(proxy.target), load(proxy.url, path, workers)
    while process.poll() is None:
        cluster.request("POST", f"/{NAME}/_refresh")
        if cluster.request("GET", f"/{NAME}/_count").body["count"] > 0.4 * total:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.5)
    process.communicate()
    cluster.request("POST", f"/{NAME}/_refresh")
    return int(cluster.request("GET", f"/{NAME}/_count").body["count"])


def finished(proxy: FaultProxy, path: Path, workers: int) -> dict[str, Any]:
    process = load(proxy.url, path, workers)
    out, said = process.communicate()
    if process.returncode:
        raise SystemExit(f"osparse index ended with exit code {process.returncode}: {said[-2000:]}")
    return dict(json.loads(out))


def stored(cluster: Cluster) -> Iterator[tuple[str, str, bool]]:
    """Id, content hash and whether it has features, of every document."""
    body: dict[str, Any] = {"size": 1000, "sort": ["_doc"], "_source": [HASH_FIELD, "sparse_embedding"]}
    page = cluster.request("POST", f"/{NAME}/_search", params={"scroll": "5m"}, body=body).body
    while hits := page["hits"]["hits"]:
        yield from ((h["_id"], h["_source"][HASH_FIELD], "sparse_embedding" in h["_source"]) for h in hits)
        page = cluster.request("POST", "/_search/scroll", body={"scroll": "5m", "scroll_id": page["_scroll_id"]}).body


def check(cluster: Cluster, path: Path) -> tuple[int, str]:
    """Problems found, and the checksum of what is stored."""
    rows = {row.id: row for row in read_documents([path]) if isinstance(row, DocumentRow)}
    there = list(stored(cluster))
    times = Counter(i for i, _, _ in there)
    problems = len(rows.keys() ^ times.keys()) + sum(count != 1 for count in times.values())
    problems += sum(rows[i].hash != found for i, found, _ in there if i in rows)
    problems += sum(not encoded for i, _, encoded in there if i in rows and rows[i].text.strip())
    return problems, hashlib.sha256("".join(sorted(i + found for i, found, _ in there)).encode()).hexdigest()[:16]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--lists", type=Path, help="a folder of apt lists, instead of fetching them")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--home", type=Path, default=Path("build/fault-load-node"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="osparse-fault-load-") as name:
        folder = Path(name)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        (folder / "bundle").mkdir()
        bundle = Bundle.open(given.bundle) if given.bundle else make_lookup_bundle(folder / "bundle")
        path = folder / "documents.jsonl"
        total = write_documents(find_lists(given.lists) if given.lists else fetch_lists(folder), path)
        try:
            url = str(node_up(given.home, port=0, tied=True).url)
            cluster = Cluster(url)
            cluster.request("DELETE", f"/{NAME}-*", allow=(404,))
            deploy(bundle, cluster, NAME)
            with fault_proxy(url, at_random(given.share, TROUBLES)) as proxy:
                started = time.monotonic()
                there = killed(proxy, path, total, given.workers)
                second = finished(proxy, path, given.workers)
                seconds = time.monotonic() - started
                third = finished(proxy, path, given.workers)
            problems, checksum = check(cluster, path)
        finally:
            node_down(given.home)
    kinds = Counter(line.split()[0] for line in proxy.struck)
    versions = {"documents": total, "there when killed": there, "encoded by the next run": second["encoded"]}
    versions |= {"found unchanged by it": second["unchanged"], "failed": second["failed"]}
    versions |= {"encoded by a third run": third["encoded"], "seconds": round(seconds)}
    versions |= {
        "calls": len(proxy.calls),
        "struck": len(proxy.struck),
        **{f"struck: {k}": n for k, n in kinds.items()},
    }
    versions |= {"missing, doubled or changed": problems, "checksum": checksum}
    print("| | |\n|---|---|")
    print(
        "\n".join(
            f"| {what} | {value if isinstance(value, str) else f'{value:,}'} |" for what, value in versions.items()
        )
    )
    good = problems == 0 and second["failed"] == 0 and second["encoded"] + second["unchanged"] <= total
    sys.exit(0 if good and third["indexed"] == 0 else 3)


if __name__ == "__main__":
    main()
