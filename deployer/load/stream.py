"""The steps of a load: rows in batches; each is looked up, encoded and sent by its own thread, and reported in order.

Memory does not grow with the corpus: a fixed number of batches is in progress, and rows are read only as one is done.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from osparse.contracts.deployment import META_KEY, Deployment, generated_fields
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.fields.index_fields import IndexFields
from osparse.deployer.fields.sparse_fields import field_text, has_text
from osparse.deployer.load.bulk import Failure, FailureLog, Line, patiently, send_bulk, stored_hashes
from osparse.deployer.load.documents import HASH_FIELD, DeletionRow, DocumentRow, Row, UnusableRow
from osparse.deployer.load.stored_sources import StoredSource, stored_sources
from osparse.deployer.load.vectors import Vectors
from osparse.errors import ClusterError, InputError, OsparseError
from osparse.formula.query_encoder import QueryEncoder
from osparse.io.progress import Bar

CONFLICTS = 5
"""How often a document that others keep changing is merged with their change again."""


@dataclass
class LoadCounts:
    """What became of the rows."""

    indexed: int = 0
    unchanged: int = 0
    """Stored already with the same content, or to be deleted and not stored."""
    deleted: int = 0
    repeated: int = 0
    """Not sent by themselves, because a later row of the same batch has their id."""
    encoded: int = 0
    """Texts that were encoded on this machine."""
    cut: int = 0
    """Documents whose text is longer than the encoder reads, and whose vector is of its beginning only."""
    failures: list[Failure] = field(default_factory=list)
    stop: OsparseError | None = None
    """Why nothing more should be sent."""

    def add(self, other: LoadCounts) -> None:
        self.indexed += other.indexed
        self.unchanged += other.unchanged
        self.deleted += other.deleted
        self.repeated += other.repeated
        self.encoded += other.encoded
        self.cut += other.cut


@dataclass
class Load:
    """One load into one concrete index."""

    api: ClusterApi
    index: str
    deployment: Deployment
    vectors: Vectors | None
    """Gives the vectors that are sent with the documents; None where the cluster's pipeline makes them all."""
    tokenizer: Callable[[], QueryEncoder | None] | None = None
    """Tells which of the texts that the cluster encodes are cut; None where they are encoded in pieces."""
    batch: int = 256
    senders: int = 2
    """Batches under way at once."""
    force: bool = False
    """Send documents that are there with the same content too."""
    uuid: str | None = None
    """Of the index when the load began; None: whether it is still the same is not checked."""
    fields: IndexFields | None = None
    """Learns the types of fields that come late; None where the index has all fields."""

    def run(self, rows: Iterable[Row], failed: FailureLog, bar: Bar) -> LoadCounts:
        """Load every row; the failures go to ``failed``, in the order of the rows.

        Raises:
            ClusterError: the cluster failed as a whole, or refuses a whole batch alike.
            OsparseError: an encoder process died.
        """
        total = LoadCounts()
        in_progress: deque[tuple[frozenset[str], int, Future[LoadCounts]]] = deque()

        def report() -> None:
            _, rows_done, future = in_progress.popleft()
            done = future.result()
            failed.add(done.failures)
            total.add(done)
            bar.advance(rows_done, f"{failed.count:,} failed" if failed.count else None)
            if done.stop is not None:
                raise done.stop

        pool = ThreadPoolExecutor(self.senders, "osparse-send")
        try:
            for batch in _batches(iter(rows), self.batch):
                ids = frozenset(row.id for row in batch)
                while len(in_progress) >= self.senders or any(
                    not ids.isdisjoint(others) for others, _, _ in in_progress
                ):
                    report()  # the second: of an id that comes twice the later row must be sent later
                in_progress.append((ids, len(batch), pool.submit(self._load_batch, batch)))
            while in_progress:
                report()
        except InputError:
            while in_progress:  # a row that cannot be read does not take back those before it
                report()
            raise
        finally:
            if self.vectors is not None:
                self.vectors.close()
            pool.shutdown(wait=True, cancel_futures=True)
            for _, _, future in in_progress:  # beside the batch that ended the load
                if not future.cancelled() and future.exception() is None:
                    failed.add(future.result().failures)
        return total

    def _load_batch(self, batch: list[Row]) -> LoadCounts:
        done = LoadCounts(failures=[Failure(row.id, row.reason) for row in batch if isinstance(row, UnusableRow)])
        usable = [row for row in batch if not isinstance(row, UnusableRow)]
        last, renewed = _last_rows(usable)
        done.repeated = len(usable) - len(last)
        if not last:
            return done
        stored = stored_hashes(self.api, self.index, list(last))
        deletions = [row for row in last.values() if isinstance(row, DeletionRow) and row.id in stored]
        documents = [row for row in last.values() if isinstance(row, DocumentRow)]
        again = {*last} if self.force else renewed
        changed = [row for row in documents if row.id in again or stored.get(row.id) != row.hash]
        done.unchanged = len(last) - len(deletions) - len(changed)
        sent = [row for row in changed if not self._collides(row, done)]
        if self.fields is not None:
            self.fields.learn((document.fields, True) for document in sent)
        written = self._lines(sent, stored.keys(), done)
        lines = [*written, *(Line(row.id, None) for row in deletions)]
        refused = self._sent(lines, {row.id: row for row in sent})
        self._check_index()
        bad = {failure.id for failure in refused}
        done.failures += refused
        done.indexed = sum(line.id not in bad for line in written)
        done.deleted = sum(row.id not in bad for row in deletions)
        done.stop = self._refused_alike(lines, refused)
        return done

    def _check_index(self) -> None:
        """A bulk request to an index that was deleted makes the cluster create it again, without mapping and pipelines.

        Raises:
            ClusterError: the index was deleted since the load began; what a bulk request created is removed.
        """
        if self.uuid is None or patiently(lambda: self.api.index_uuid(self.index)) == self.uuid:
            return
        mapping = (self.api.get_mapping(self.index) or {}).get(self.index)
        if mapping is not None and META_KEY not in mapping.get("mappings", {}).get("_meta", {}):
            self.api.delete_index(self.index)
        raise ClusterError(
            f"{self.index} on {self.api.cluster.url} was deleted during the load, and the documents with it; run "
            "osparse deploy again, then the load"
        )

    def _collides(self, document: DocumentRow, done: LoadCounts) -> bool:
        """Whether the row brings a field that the encoder of this index writes; it is a failure then."""
        own = generated_fields(self.deployment)
        taken = sorted(name for name in document.fields if name.split(".")[0] in own)
        if taken:
            reason = f"{', '.join(taken)}: osparse writes that field of this index itself; rename it in the row"
            done.failures.append(Failure(document.id, reason))
        return bool(taken)

    def _sent(self, lines: list[Line], documents: dict[str, DocumentRow]) -> list[Failure]:
        """Send the lines; what somebody else changed meanwhile is merged with their change and sent again."""
        refused = send_bulk(self.api, self.index, lines)
        for _ in range(CONFLICTS):
            conflicts = {failure.id for failure in refused if failure.is_conflict}
            if not conflicts:
                break
            hashes = stored_hashes(self.api, self.index, conflicts)
            written = {i for i in conflicts if hashes.get(i) == documents[i].hash}  # by us: the answer was lost
            if self.force:
                written = set()  # the hash may have been the same before, so it does not tell who wrote
            again = [line for line in lines if line.id in conflicts - written]
            refused = [failure for failure in refused if not failure.is_conflict]
            refused += self._sent_again(again, documents, hashes.keys())
        return refused

    def _sent_again(
        self, lines: list[Line], documents: dict[str, DocumentRow], stored: Collection[str]
    ) -> list[Failure]:
        if self.deployment.fields:  # what others changed may be the text of one of them
            counts = LoadCounts()
            changed = self._lines([documents[line.id] for line in lines], stored, counts)
            return [*counts.failures, *send_bulk(self.api, self.index, changed)]
        contents = self._contents([documents[line.id] for line in lines], stored)
        merged = [line._replace(**{"version": None, **contents[line.id]}) for line in lines]
        return send_bulk(self.api, self.index, merged)

    def _lines(self, documents: list[DocumentRow], stored: Collection[str], done: LoadCounts) -> list[Line]:
        contents = self._contents(documents, stored)
        whole = [replace(document, fields=contents[document.id]["source"]) for document in documents]
        filled, bad = self._with_text(whole, done)
        own, left = dict[str, bytes](), {document.id for document in filled}  # left: the pipeline encodes them
        if self.vectors is not None:
            own, known, encoded, cut = self.vectors.members(filled)
            left -= known
            done.encoded, done.cut = encoded, cut
        tokenizer = self.tokenizer() if left and self.tokenizer is not None else None
        if tokenizer is not None:
            done.cut += sum(
                tokenizer.cuts(field_text(view, document.fields))
                for view in self.deployment.views
                if view.fingerprint == self.deployment.fingerprint
                for document in filled
                if document.id in left
            )
        scripted = self.deployment.vector == "semantic"
        client = self.deployment.mode == "client"  # its index has no pipeline
        return [
            Line(i, ingest=client or i in left, member=member, scripted=scripted and bool(member), **contents[i])
            for i, member in ((one.id, own.get(one.id, b"")) for one in documents if one.id not in bad)
        ]

    def _with_text(self, documents: list[DocumentRow], done: LoadCounts) -> tuple[list[DocumentRow], set[str]]:
        """Those that have a text in any sparse field, and the ids of those whose text cannot be made: failures."""
        filled, bad = list[DocumentRow](), set[str]()
        for document in documents:
            try:
                if has_text(self.deployment, document.fields):
                    filled.append(document)
            except ValueError as problem:
                bad.add(document.id)
                done.failures.append(Failure(document.id, str(problem)))
        return filled, bad

    def _contents(self, documents: list[DocumentRow], stored: Collection[str]) -> dict[str, dict[str, Any]]:
        """Document id -> ``source`` and ``version`` of its line: the row's fields, over those it has beside them."""
        known = [document.id for document in documents if document.id in stored and not document.complete]
        generated = [*generated_fields(self.deployment), HASH_FIELD]
        sources = stored_sources(self.api, self.index, known, generated)
        return {document.id: _content(document, sources.get(document.id)) for document in documents}

    def _refused_alike(self, lines: list[Line], refused: list[Failure]) -> OsparseError | None:
        alike = len(refused) == len(lines) and len({failure.reason for failure in refused}) == 1
        if not alike or len(lines) <= max(1, self.batch // 2):  # a few may be bad rows; this many is the cluster
            return None
        return ClusterError(
            f"{self.api.cluster.url} refuses every document of a batch of {len(lines)} with the same words "
            f"({refused[0].reason}); those before it are indexed. Remove the cause (osparse status --index "
            f"{self.index}), then run the same load again, which continues"
        )


def _last_rows(rows: Iterable[DocumentRow | DeletionRow]) -> tuple[dict[str, DocumentRow | DeletionRow], set[str]]:
    """Id -> what the rows of that id come to, as if each had been sent in turn; and the ids that are deleted first."""
    last, renewed = dict[str, DocumentRow | DeletionRow](), set[str]()
    for row in rows:
        earlier = last.get(row.id)
        if isinstance(row, DocumentRow) and isinstance(earlier, DocumentRow):
            row = row.after(earlier)
        elif isinstance(row, DocumentRow) and earlier is not None:
            row = replace(row, complete=True)
            renewed.add(row.id)
        last[row.id] = row
    return last, renewed


def _content(document: DocumentRow, stored: StoredSource | None) -> dict[str, Any]:
    """``source`` and ``version`` of a line."""
    own = {**document.fields, HASH_FIELD: document.hash}
    if stored is None:
        return {"source": own}
    kept = {name: value for name, value in stored.source.items() if name not in document.cleared}
    return {"source": {**kept, **own}, "version": stored.version}


def _batches(rows: Iterator[Row], size: int) -> Iterator[list[Row]]:
    while taken := list(islice(rows, size)):
        yield taken
