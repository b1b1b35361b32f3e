"""Bring a new index to the state of its source, pass by pass: what was written since the pass before is copied.

A pass takes the source's checkpoints, refreshes it, takes over fields that are new in its mapping, and copies what was
written up to the checkpoints. How far it has come is recorded as batches are acknowledged. Documents that were deleted
from the source are found by asking it for the ids of the new index.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from osparse.contracts.deployment import Deployment
from osparse.deployer.adopt.calls import allow_writes, count_ids
from osparse.deployer.adopt.changes import BySequence, Changes, Page
from osparse.deployer.adopt.known_ids import KnownIds
from osparse.deployer.adopt.record import Position, Record, adoption_record, read_record, write_record
from osparse.deployer.adopt.source_index import SourceIndex
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.fields.sparse_fields import has_text
from osparse.deployer.index.copy import StoredRow
from osparse.deployer.load.bulk import FailureLog, Line, patiently, send_bulk
from osparse.deployer.load.documents import Row, UnusableRow
from osparse.deployer.load.encode_here import choose_encoding
from osparse.deployer.load.prepare import prepare_load
from osparse.deployer.load.stream import Load
from osparse.errors import ClusterError, ClusterUnreachableError
from osparse.io.progress import Bar, progress
from osparse.opensearch_templates import render
from osparse.rows.text_template import TEXT_FIELD, TextTemplate

log = logging.getLogger("osparse.deployer.adopt.follow")

RECORD_SECONDS = 5.0
"""Between two notes of how far a pass has come: what was copied since the last one is compared again after a kill."""
RESTARTS = 5
"""How often a pass whose connection broke is continued."""
PASSES = 8
"""After the first one, at most, until a pass has only a few documents to copy."""
FEW = 256
"""Documents that a pass may find written and still count as the last before writes are stopped."""


@dataclass
class Follower:
    """One source and the new index that follows it."""

    api: ClusterApi
    source: SourceIndex
    new: str
    deployment: Deployment
    changes: Changes
    changed_field: str | None = None
    """The date field that ``changes`` goes by."""
    copied: int = 0
    """Documents written to the new index so far, repeated ones counted again."""
    deleted: int = 0
    _record: Record | None = None
    _small: Load | None = field(default=None, repr=False)
    _known_ids: KnownIds = field(default_factory=KnownIds, repr=False)

    @property
    def record(self) -> Record:
        if self._record is None:
            url = self.source.api.cluster.url if self.source.remote else None
            self._record = read_record(self.api, self.new, self.source.index, self.source.uuid, url)
        return self._record

    def save(self, **values: Any) -> None:
        self._record = replace(self.record, **values)
        write_record(self.api, self.new, self._record)

    def settle(self) -> None:
        """Pass after pass until one finds only a few documents that were written meanwhile, or most of those before."""
        before = self.catch_up()
        for _ in range(PASSES):
            if before <= FEW:
                return
            documents = self.catch_up()
            if 2 * documents > before:
                return
            before = documents

    def begin(self) -> None:
        """Record the source; start over where the new index has served since; undo a killed run's block of writes."""
        if adoption_record(self.api, self.new) is None or self.record.changed_field != self.changed_field:
            self.save(changed_field=self.changed_field)
        if self.record.served:
            self.save(position={}, served=False, forced=True)
        if self.record.blocked:
            if self.source.api.index_uuid(self.source.index) == self.source.uuid:
                allow_writes(self.source.api, self.source.index)
            self.save(blocked=False)

    def served(self) -> None:
        """Record that the new index serves from now on, and up to where all of its documents are encoded."""
        self.save(position=BySequence(self.api, self.new).now(), served=True)

    def catch_up(self) -> int:
        """One pass; the documents that were read.

        Raises:
            ClusterError: documents were refused; the first reasons are in the message, the copied ones stay.
        """
        upto = self.changes.now()
        self.source.api.refresh(self.source.index)
        self._take_new_fields()
        with tempfile.TemporaryDirectory(prefix="osparse-") as folder:
            failed = FailureLog(Path(folder) / "failed.jsonl")
            try:
                documents = self._until_done(upto, failed)
            finally:
                failed.close()
        if failed.count:
            shown = "\n".join(f"  {failure.id}: {failure.reason}" for failure in failed.first)
            raise ClusterError(
                f"{failed.count} documents of {self.source.shown} cannot be copied to {self.new}; no name was moved. "
                f"Remove the cause and run osparse deploy again, which continues. The first reasons:\n{shown}"
            )
        self.save(position=upto, forced=False)
        log.info("%s: %d documents read of %s", self.new, documents, self.source.shown)
        return documents

    def is_current(self) -> bool:
        """Whether nothing was written to the source since the pass before."""
        return self.changes.now() == self.record.position

    def remove_deleted(self) -> int:
        """Delete what the source does not have (any more); the documents that were deleted."""
        ids = BySequence(self.api, self.new, ("*",))
        upto = ids.now()
        self.source.api.refresh(self.source.index)
        self.api.refresh(self.new)
        gone = 0
        with progress(f"compare the ids of {self.new}", self.api.count(self.new), "documents") as bar:
            for names in self._known_ids.pages(ids, upto):
                missing = self._missing_in_source(names)
                if missing and (refused := send_bulk(self.api, self.new, [Line(name, None) for name in missing])):
                    raise ClusterError(f"{refused[0].id} could not be deleted from {self.new}: {refused[0].reason}")
                gone += len(missing)
                bar.advance(len(names))
        self.deleted += gone
        return gone

    def _missing_in_source(self, names: Sequence[str]) -> list[str]:
        """Those of the new index's ids that the source does not have, without those that the new index lost as well."""
        if not names or count_ids(self.source.api, self.source.index, names) == len({*names}):
            return []
        there = patiently(lambda: self.source.api.present(self.source.index, names))
        missing = [name for name in names if name not in there]
        here = patiently(lambda: self.api.present(self.new, missing)) if missing else set[str]()
        return [name for name in missing if name in here]

    def close(self) -> None:
        self._known_ids.close()

    def counts(self) -> tuple[int, int]:
        """Documents of the source and of the new index, both refreshed."""
        self.source.api.refresh(self.source.index)
        self.api.refresh(self.new)
        return self.source.api.count(self.source.index), self.api.count(self.new)

    def _take_new_fields(self) -> None:
        """Writers give the source new fields, whose types must not be guessed anew."""
        mapping = (self.source.api.get_mapping(self.source.index) or {}).get(self.source.index, {})
        theirs = mapping.get("mappings", {}).get("properties", {})
        own = (self.api.get_mapping(self.new) or {}).get(self.new, {}).get("mappings", {}).get("properties", {})
        left = {*self.source.left_behind}
        if more := _missing({name: body for name, body in theirs.items() if name not in left}, own):
            self.api.put_mapping(self.new, render("mapping_fields", properties=more))

    def _until_done(self, upto: Position, failed: FailureLog) -> int:
        """Copy up to a position, continuing where the connection broke; the documents that were read."""
        read = 0
        for attempt in range(RESTARTS):
            expected = self.changes.at_most(self.record.position, upto)
            total = expected if expected is not None and expected <= FEW else self.source.api.count(self.source.index)
            load = self._load(total)
            load.force = self.record.forced
            try:
                with progress(f"copy {self.source.shown} to {self.new}", total, "documents") as shown:
                    bar = _Recorder(self, shown, failed)
                    pages = self.changes.pages(self.record.position, upto)
                    done = load.run(self._rows(pages, bar), failed, bar)
                    self.copied += done.indexed
                    return read + bar.read
            except ClusterUnreachableError as problem:
                read += bar.read
                if attempt == RESTARTS - 1:
                    raise
                log.info("the copy continues: %s", problem)
        raise ValueError("RESTARTS must be at least 1")

    def _load(self, total: int) -> Load:
        """For a few documents the same encoder, which is open: the last pass must be quick."""
        encoding = choose_encoding(self.api, self.new, self.deployment, total, "auto", None)
        if total > FEW:
            return prepare_load(self.api, self.new, self.deployment, total, encoding=encoding)
        if self._small is None:
            self._small = prepare_load(self.api, self.new, self.deployment, total, encoding=encoding)
        return self._small

    def _rows(self, pages: Iterator[Page], bar: _Recorder) -> Iterator[Row]:
        made = self.deployment.text_template
        template = TextTemplate.parse(made) if made is not None else None
        for hits, position in pages:
            for hit in hits:
                bar.read += 1
                yield stored_row(hit, template, self.deployment)
            bar.reached(position)


class _Recorder(Bar):
    """Passes progress on, and records how far the acknowledged documents reach, as long as none was refused."""

    def __init__(self, follower: Follower, shown: Bar, failed: FailureLog) -> None:
        super().__init__(shown.label, shown.total, shown.unit)
        self._follower, self._shown, self._failed = follower, shown, failed
        self.read = 0
        self._reached: deque[tuple[int, Position]] = deque()
        self._position: dict[str, int] = {**follower.record.position}
        self._saved = time.monotonic()

    def reached(self, position: Position) -> None:
        """All documents read so far are those up to ``position``, of the shards that it names."""
        self._reached.append((self.read, position))

    def advance(self, n: int = 1, note: str | None = None) -> None:
        self.done += n
        self._shown.advance(n, note)
        if self._failed.count:
            return
        while self._reached and self._reached[0][0] <= self.done:
            self._position |= self._reached.popleft()[1]
        if time.monotonic() - self._saved >= RECORD_SECONDS:
            self._saved = time.monotonic()
            self._follower.save(position=dict(self._position))


def stored_row(hit: Mapping[str, Any], template: TextTemplate | None, deployment: Deployment) -> Row:
    """The document as the new index is to hold it; unusable where its text cannot be made."""
    name, source = str(hit["_id"]), dict(hit["_source"])
    if "_routing" in hit:
        return UnusableRow(name, "it has a routing of its own, and osparse writes documents without routing")
    try:
        text = template.text_of(source) if template is not None else None
        has_text(deployment, source)  # the text of every further field can be made too
    except ValueError as problem:
        return UnusableRow(name, str(problem))
    return StoredRow(name, source if text is None else {**source, TEXT_FIELD: text})


def _missing(theirs: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Fields, at any depth, that only they have; below an object with what makes it that object."""
    more: dict[str, Any] = {}
    for name, body in theirs.items():
        if name not in own:
            more[name] = body
        elif below := _missing(body.get("properties", {}), own[name].get("properties", {})):
            kind = {key: value for key, value in body.items() if key == "type"}
            more[name] = {**kind, **render("mapping_fields", properties=below)}
    return more
