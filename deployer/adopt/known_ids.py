"""The ids of an index that only one program writes to, kept in a file once they were read.

Reading an id from OpenSearch unpacks the whole document with its vector, so the comparison that is made while writes
are refused reads only those that are new.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from typing import IO

from osparse.deployer.adopt.changes import BySequence
from osparse.deployer.adopt.record import Position


class KnownIds:
    """Pages of ids; those of documents that were deleted since are among them."""

    def __init__(self) -> None:
        self._file: IO[str] | None = None
        self._read: dict[str, int] = {}

    def pages(self, changes: BySequence, upto: Position) -> Iterator[list[str]]:
        """The ids that were read before, then those of what was written since, up to a position."""
        if self._file is None:
            self._file = tempfile.TemporaryFile("w+", encoding="utf-8", prefix="osparse-ids-")
        file = self._file
        file.seek(0)
        while line := file.readline():
            yield json.loads(line)
        file.seek(0, 2)
        for hits, position in changes.pages(self._read, upto):
            names = [str(hit["_id"]) for hit in hits]
            file.write(json.dumps(names) + "\n")
            self._read |= position
            yield names

    def close(self) -> None:
        """Forget all of them."""
        if self._file is not None:
            self._file.close()
        self._file, self._read = None, {}
