"""The two steps of an adoption: the new index holds what the source holds, then the name moves to it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

from osparse.deployer.adopt.calls import allow_writes, is_blocked
from osparse.deployer.adopt.follow import Follower
from osparse.deployer.adopt.name import ServedName
from osparse.deployer.adopt.record import adoption_record, write_record
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.index.gate import GateChecks
from osparse.deployer.plan import Finding, Made
from osparse.errors import CheckError

log = logging.getLogger("osparse.deployer.adopt.steps")

QUIET_PASSES = 3
"""Passes after the gate, at most, over a source on another cluster, whose writes are not stopped."""


@dataclass(frozen=True)
class AdoptedDocuments:
    """Step: every document of the source is in the new index, encoded; what is written meanwhile follows."""

    follower: Follower
    takes = ()

    def inspect(self, made: Made) -> Finding:
        """Only the copy itself can tell whether every document is there with its last content."""
        source, new = self.follower.source, self.follower.new
        there = source.api.count(source.index)
        here = self.follower.api.count(new) if self.follower.api.get_mapping(new) is not None else 0
        what = f"documents of {source.shown} in {new}"
        return Finding("change", what, f"{there:,} there, {here:,} here: those missing or changed are copied")

    def apply(self, made: Made) -> Made:
        self.follower.begin()
        self.follower.settle()
        return Made()


@dataclass(frozen=True)
class AdoptionSwitch:
    """Step: the name stands on the new index, which has passed the gate and holds the same documents."""

    follower: Follower
    name: ServedName
    checks: GateChecks
    takes = ()

    def inspect(self, made: Made) -> Finding:
        checks = ["the served weights are the probes'", "the same documents"]
        if self.checks.gate is not None:
            checks.append(self.checks.planned(self.checks.gate))
        writes = "" if self.follower.source.remote else f"; {self.follower.source.index} refuses writes meanwhile"
        why = [f"once the gate holds: {'; '.join(checks)}{writes}", *self._aliases("move along")]
        return Finding("change", self.name.plan, ". ".join(why))

    def apply(self, made: Made) -> Made:
        """Raises :class:`CheckError` and moves nothing if the gate does not hold."""
        with closing(self.follower):
            return self._passed()

    def _passed(self) -> Made:
        report = [self.checks.weights()]
        if self.checks.gate is not None:
            report.append(self.checks.quality(self.checks.gate))
        follower, aliases = self.follower, self._aliases("moved along")
        follower.settle()
        follower.remove_deleted()
        follower.settle()
        note, documents = self._take_quiet() if follower.source.remote else self._take_blocked()
        report.insert(
            1, f"documents: {documents:,} in both, {follower.copied:,} copied and {follower.deleted:,} deleted"
        )
        return Made(gate=tuple(report), notes=(note, *aliases))

    def _aliases(self, verb: str) -> list[str]:
        along, left = sorted(self.name.aliases()), self.name.aliases_left()
        return [
            *([f"other aliases that {verb}: {', '.join(along)}"] if along else []),
            *([f"other aliases that stay on {self.follower.source.shown}: {', '.join(left)}"] if left else []),
        ]

    def _take_blocked(self) -> tuple[str, int]:
        """Move the name while the source refuses writes; a note for how long, and the documents that both hold."""
        source, started = self.follower.source, time.monotonic()
        with writes_stopped(self.follower):
            self.follower.catch_up()
            documents = self._same()
            self.follower.served()
            self.name.take()
            seconds = time.monotonic() - started
        return f"{source.index} refused writes for {seconds:.1f} s before the name moved", documents

    def _take_quiet(self) -> tuple[str, int]:
        """Move the name once a pass finds nothing written meanwhile; raises :class:`CheckError` where each does."""
        source = self.follower.source
        for _ in range(QUIET_PASSES):
            self.follower.catch_up()
            if self.follower.is_current():
                documents = self._same()
                self.follower.served()
                self.name.take()
                return f"{source.shown} still takes writes; let its writers write to {self.name.alias} here", documents
        raise CheckError(
            f"{source.shown} was written to during each of {QUIET_PASSES} further passes, and what is written last "
            "would be missing here; no name was moved. Pause what writes to it and deploy again: what is copied "
            "already stays"
        )

    def _same(self) -> int:
        """The documents that both indices hold; raises :class:`CheckError` where they differ."""
        there, here = self.follower.counts()
        if here != there:
            self.follower.remove_deleted()
            there, here = self.follower.counts()
        if here != there:
            raise CheckError(
                f"{self.follower.new} holds {here:,} documents, {self.follower.source.shown} holds {there:,}; no name "
                "was moved. Does another program write to the new index? Deploy again"
            )
        return there


@dataclass(frozen=True)
class ReleasedSource:
    """Step: the name has moved already; a source that a killed run left without writes takes them again."""

    api: ClusterApi
    new: str
    takes = ()

    def inspect(self, made: Made) -> Finding:
        record = adoption_record(self.api, self.new)
        source = record.source if record is not None else "the source"
        if record is not None and record.blocked:
            return Finding("change", f"writes to {source}", "an interrupted run left it refusing them")
        return Finding("keep", f"documents of {source} in {self.new}", "they were taken over already")

    def apply(self, made: Made) -> Made:
        record = adoption_record(self.api, self.new)
        if record is not None:
            if self.api.index_uuid(record.source) == record.uuid:
                allow_writes(self.api, record.source)
            write_record(self.api, self.new, replace(record, blocked=False))
        return Made()


@contextmanager
def writes_stopped(follower: Follower) -> Iterator[None]:
    """For the time of the block the source refuses writes; one whose owner stopped them stays so afterwards."""
    api, index = follower.source.api, follower.source.index
    if is_blocked(api, index):
        yield
        return
    follower.save(blocked=True)
    try:
        api.block_writes(index)
        yield
    finally:
        if api.index_uuid(index) == follower.source.uuid:  # it may have been removed, and its name be an alias now
            allow_writes(api, index)
        follower.save(blocked=False)
