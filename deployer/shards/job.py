"""One part of the encoding: the input cut into shards, and which of them the part writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from osparse.contracts.shards import ShardInfo
from osparse.deployer.load.bulk import Failure, FailureLog
from osparse.deployer.load.documents import (
    DeletionRow,
    DocumentRow,
    Row,
    UnusableRow,
    documents_of_file,
    warn_of_unused,
)
from osparse.deployer.shards.encode_result import EncodeResult
from osparse.deployer.shards.table import documents_table
from osparse.deployer.shards.writer import ShardWriter
from osparse.io.progress import progress
from osparse.rows.row_rules import RowRules


@dataclass(frozen=True)
class Input:
    """The rows, cut into shards, and which of the shards this part encodes."""

    paths: Sequence[Path]
    part: tuple[int, int]
    shard_rows: int
    rules: RowRules
    """How rows become documents."""

    @property
    def by_file(self) -> bool:
        """Whether the part takes whole files: it then reads no others."""
        return len(self.paths) >= self.part[1]

    def reads(self, file: int) -> bool:
        """Whether this part reads an input file; one beyond the last is everybody's."""
        return not self.by_file or file >= len(self.paths) or file % self.part[1] == self.part[0] - 1

    def shards(self) -> Iterator[tuple[int, int, bool, list[Row] | None]]:
        """(file, number, last of the file, rows) of every shard that is read; the rows of another part's are None."""
        count = 0
        for file, path in enumerate(self.paths):
            if not self.reads(file):
                continue
            rows = documents_of_file(path, self.rules)
            for number, (some, last) in enumerate(batches(rows, self.shard_rows)):
                own = self.by_file or count % self.part[1] == self.part[0] - 1
                count += 1
                yield file, number, last, some if own else None
        warn_of_unused(self.rules)


@dataclass
class EncodeJob:
    """One run of one part."""

    place: ShardInfo
    """Of any shard of the set: bundle and settings."""
    read: Input
    writer: ShardWriter
    failed: FailureLog
    result: EncodeResult
    """Counts what is done."""

    def run(self) -> None:
        """Raises as :func:`osparse.deployer.encode_documents`."""
        self.writer.check_settings(self.place)
        with progress("encode", None, "documents") as bar:
            for file, number, last, rows in self.read.shards():
                if rows is not None:
                    self._shard(replace(self.place, file=file, number=number, last=last), rows)
                    bar.advance(len(rows))

    def _shard(self, place: ShardInfo, rows: list[Row]) -> None:
        usable, failures = usable_rows(rows)
        self.failed.add(failures)
        self.result.add(self.writer.write(place, documents_table(usable)))


def usable_rows(rows: Sequence[Row]) -> tuple[list[DocumentRow | DeletionRow], list[Failure]]:
    """What can be written, and why the other rows cannot."""
    usable = [row for row in rows if not isinstance(row, UnusableRow)]
    return usable, [Failure(row.id, row.reason) for row in rows if isinstance(row, UnusableRow)]


def batches(rows: Iterator[Row], size: int) -> Iterator[tuple[list[Row], bool]]:
    """Lists of ``size`` rows, and whether each is the last; one empty list where there are no rows."""
    current = list(islice(rows, size))
    while True:
        following = list(islice(rows, size)) if len(current) == size else []
        yield current, not following
        if not following:
            return
        current = following
