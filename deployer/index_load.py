"""The flow of a load: rows in batches; each is looked up, encoded and sent by a thread of its own, reported in order.

Nothing grows with the corpus: so many batches are under way at once, and no row is read before one of them is done.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

from osparse.deployer.bulk import Failure, FailureLog, Line, send_bulk, stored_hashes
from osparse.deployer.cluster_api import ClusterApi
from osparse.deployer.documents import HASH_FIELD, Document, Removal, Row, Unusable
from osparse.deployer.index_encoding import FeatureSource
from osparse.deployment import Deployment
from osparse.errors import ClusterError, InputError, OsparseError
from osparse.progress import Bar


@dataclass
class Tally:
    """What became of the rows."""

    indexed: int = 0
    unchanged: int = 0
    """There already with the same content, or to be deleted and not there."""
    deleted: int = 0
    repeated: int = 0
    """Left out because a later row of the same batch has their id."""
    encoded: int = 0
    """Texts that osparse encoded: those of the indexed documents that have any, in client mode."""
    failures: list[Failure] = field(default_factory=list)
    stop: OsparseError | None = None
    """Why nothing more should be sent."""

    def add(self, other: Tally) -> None:
        self.indexed += other.indexed
        self.unchanged += other.unchanged
        self.deleted += other.deleted
        self.repeated += other.repeated
        self.encoded += other.encoded


@dataclass
class Load:
    """One load into one concrete index."""

    api: ClusterApi
    index: str
    deployment: Deployment
    encoder: Callable[[], FeatureSource] | None
    """Client mode: opened when the first text is to be encoded."""
    batch: int = 256
    senders: int = 2
    """Batches under way at once."""
    _source: FeatureSource | None = None
    _opening: threading.Lock = field(default_factory=threading.Lock)

    def run(self, rows: Iterable[Row], failed: FailureLog, bar: Bar) -> Tally:
        """Load every row; the failures go to ``failed``, in the order of the rows.

        Raises:
            ClusterError: the cluster failed as a whole, or refuses a whole batch alike.
            OsparseError: an encoder process died.
        """
        total = Tally()
        under_way: deque[tuple[frozenset[str], int, Future[Tally]]] = deque()

        def report() -> None:
            _, rows_done, future = under_way.popleft()
            done = future.result()
            failed.add(done.failures)
            total.add(done)
            bar.advance(rows_done, f"{failed.count:,} failed" if failed.count else None)
            if done.stop is not None:
                raise done.stop

        pool = ThreadPoolExecutor(self.senders, "osparse-send")
        try:
            for taken in _batches(iter(rows), self.batch):
                ids = frozenset(row.id for row in taken)
                while len(under_way) >= self.senders or any(not ids.isdisjoint(others) for others, _, _ in under_way):
                    report()  # the second: of an id that comes twice the later row must be sent later
                under_way.append((ids, len(taken), pool.submit(self._one, taken)))
            while under_way:
                report()
        except InputError:
            while under_way:  # a row that cannot be read does not take back those before it
                report()
            raise
        finally:
            if self._source is not None:
                self._source.close()
            pool.shutdown(wait=True, cancel_futures=True)
            for _, _, future in under_way:  # beside the batch that ended the load
                if not future.cancelled() and future.exception() is None:
                    failed.add(future.result().failures)
        return total

    def _one(self, taken: list[Row]) -> Tally:
        done = Tally(failures=[Failure(row.id, row.reason) for row in taken if isinstance(row, Unusable)])
        usable = [row for row in taken if not isinstance(row, Unusable)]
        last = {row.id: row for row in usable}
        done.repeated = len(usable) - len(last)
        if not last:
            return done
        there = stored_hashes(self.api, self.index, list(last))
        removals = [row for row in last.values() if isinstance(row, Removal) and row.id in there]
        fresh = [row for row in last.values() if isinstance(row, Document) and there.get(row.id) != row.hash]
        done.unchanged = len(last) - len(removals) - len(fresh)
        lines = [*self._lines(fresh, done), *(Line(row.id, None) for row in removals)]
        refused = send_bulk(self.api, self.index, lines)
        bad = {failure.id for failure in refused}
        done.failures += refused
        done.indexed = sum(document.id not in bad for document in fresh)
        done.deleted = sum(removal.id not in bad for removal in removals)
        done.stop = self._refused_alike(lines, refused)
        return done

    def _lines(self, documents: list[Document], done: Tally) -> Iterator[Line]:
        members = dict[str, bytes]()
        if self.deployment.mode == "client":
            filled = [document for document in documents if document.text.strip()]
            done.encoded = len(filled)
            name = f'"{self.deployment.field}":'.encode()
            for document, features in zip(filled, self._encode(filled), strict=True):
                members[document.id] = name + features
        for document in documents:
            source = {**document.fields, HASH_FIELD: document.hash}
            ingest = self.deployment.mode == "client" or bool(document.text.strip())
            yield Line(document.id, source, ingest, members.get(document.id, b""))

    def _encode(self, documents: list[Document]) -> list[bytes]:
        if not documents or self.encoder is None:
            return []
        with self._opening:
            if self._source is None:
                self._source = self.encoder()
        return self._source.encode([document.id for document in documents], [document.text for document in documents])

    def _refused_alike(self, lines: list[Line], refused: list[Failure]) -> OsparseError | None:
        alike = len(refused) == len(lines) and len({failure.reason for failure in refused}) == 1
        if not alike or len(lines) <= max(1, self.batch // 2):  # a few may be bad rows; this many is the cluster
            return None
        return ClusterError(
            f"{self.api.cluster.url} refuses every document of a batch of {len(lines)} with the same words "
            f"({refused[0].reason}); those before it are indexed. Mend the cause (osparse status --index "
            f"{self.index}), then run the same command again: it goes on"
        )


def _batches(rows: Iterator[Row], size: int) -> Iterator[list[Row]]:
    while taken := list(islice(rows, size)):
        yield taken
