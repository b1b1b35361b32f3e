"""A writer and readers that work through a whole migration, each through the name, and remember what they were told.

The writer is plain: it indexes, updates and deletes documents by ``_bulk``, repeats what is refused as busy or blocked,
and keeps the last acknowledged state of every document. A reader asks with one connection that never tries twice.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from osparse.deployer import Cluster

Document = dict[str, Any]


class Writer(threading.Thread):
    """One per set of ids: what it was acknowledged is what the index must hold in the end."""

    def __init__(self, url: str, name: str, documents: dict[str, Document], made: Callable[[int], Document]) -> None:
        super().__init__(daemon=True)
        self.cluster, self.index, self.made = Cluster(url, retries=0), name, made
        self.expected: dict[str, Document] = dict(documents)
        self.acknowledged = self.refused = 0
        self.longest = 0.0
        """Seconds of the longest time in which writes were refused."""
        self.failed: list[str] = []
        self.stop = threading.Event()
        self.pause = 0.01

    def run(self) -> None:
        chance, number = random.Random(0), 0
        while not self.stop.is_set():
            changes: dict[str, Document | None] = {}
            for _ in range(5):
                number += 1
                known = chance.choice([*self.expected])
                kind = chance.random()
                changes[f"new-{number}" if kind < 0.3 else known] = None if kind > 0.85 else self.made(number)
            try:
                self.write(changes)
            except Exception as problem:  # noqa: BLE001 - whatever it was, it is a failed write
                self.failed.append(repr(problem))
            self.stop.wait(self.pause)

    def write(self, changes: dict[str, Document | None]) -> None:
        started, left = time.monotonic(), dict(changes)
        while left:
            answer = self.cluster.request(
                "POST", f"/{self.index}/_bulk", body=_bulk(left), content_type="application/x-ndjson", allow=(403, 429)
            )
            items = answer.body.get("items") or [{"x": {"_id": i, "status": answer.status}} for i in left]
            for item in items:
                ((_, result),) = item.items()
                self._took(result, left)
            if left:
                self.refused += 1
                time.sleep(0.02)
        if self.refused:
            self.longest = max(self.longest, time.monotonic() - started)

    def _took(self, result: dict[str, Any], left: dict[str, Document | None]) -> None:
        name, status = result["_id"], result["status"]
        if status in (403, 429):
            return
        change = left.pop(name)
        if status >= 300 and not (status == 404 and change is None):
            self.failed.append(json.dumps(result))
        elif change is None:
            self.expected.pop(name, None)
        else:
            self.expected[name] = change
        self.acknowledged += 1


class Reader(threading.Thread):
    """Asks the name again and again; the seconds of each answer, and every failure."""

    def __init__(self, url: str, name: str, body: dict[str, Any], *, repeats: bool = False) -> None:
        super().__init__(daemon=True)
        self.cluster, self.index, self.body = Cluster(url, retries=0), name, body
        self.seconds: list[float] = []
        self.repeats, self.repeated = repeats, 0
        """Whether a 503 is asked again, as OpenSearch's own clients do, and the 404 of a query whose index was removed while
    it was answered; how often that was."""
        self.indices: list[str] = []
        self.failed: list[str] = []
        self.stop = threading.Event()
        self.pause = 0.005

    def run(self) -> None:
        while not self.stop.is_set():
            started = time.monotonic()
            try:
                found = self._answer()
                assert found["_shards"]["failed"] == 0 and found["hits"]["hits"]
                self.indices.append(found["hits"]["hits"][0]["_index"])
            except Exception as problem:  # noqa: BLE001 - whatever it was, it is a failed query
                self.failed.append(repr(problem))
            self.seconds.append(time.monotonic() - started)
            self.stop.wait(self.pause)

    def _answer(self) -> Any:
        path, params = f"/{self.index}/_search", {"allow_partial_search_results": "false"}
        for _ in range(100 if self.repeats else 0):
            answer = self.cluster.request("POST", path, params=params, body=self.body, allow=(404, 503))
            if answer.status == 200:
                return answer.body
            if answer.status == 404 and "No search context found" not in json.dumps(answer.body):
                raise AssertionError(answer.body)
            self.repeated += 1
            time.sleep(0.02)
        return self.cluster.request("POST", path, params=params, body=self.body).body


@contextmanager
def working(*threads: Writer | Reader) -> Iterator[None]:
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.stop.set()
        for thread in threads:
            thread.join()


def _bulk(changes: dict[str, Document | None]) -> bytes:
    lines: list[dict[str, Any]] = []
    for name, source in changes.items():
        lines += [{"delete": {"_id": name}}] if source is None else [{"index": {"_id": name}}, source]
    return b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines)
