"""Read the documents of an index that were written since some moment: by sequence numbers, or by a date field.

A shard numbers its writes; a document carries the number of its last one. So what was written after a number is found
whether it is new or changed, each document once, and a copy that was interrupted continues at a number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol

from osparse.deployer.adopt.calls import checkpoints, sequence_page
from osparse.deployer.adopt.record import Position
from osparse.deployer.cluster.api import ClusterApi
from osparse.errors import InputError
from osparse.opensearch_templates import render

PAGE = 256
"""Documents read together."""
IDS_PAGE = 5_000
"""Ids read together, where nothing else of the documents is: the last comparison is made while writes are refused."""
WINDOW = 4
"""Pages of sequence numbers that one search looks at, at first: a search sorts all that it looks at."""
LARGEST_WINDOW = 1 << 20
"""Where hardly any number has a document left, after many updates and deletions."""
OVERLAP = 600_000
"""Milliseconds before the last change seen that are read again: writers set the date before they send."""
CHANGED = "changed"
"""The one key of a position by date."""

Page = tuple[list[dict[str, Any]], Position]
"""Hits, and how far one shard has been read with them."""


class Changes(Protocol):
    """What was written to one index between two positions."""

    def now(self) -> dict[str, int]:
        """Up to where every write can be read after the next refresh."""

    def pages(self, after: Position, upto: Position) -> Iterator[Page]:
        """The documents last written after one position and not after the other, each once."""

    def at_most(self, after: Position, upto: Position) -> int | None:
        """How many documents :meth:`pages` could give at most; None where that is not known."""


@dataclass(frozen=True)
class BySequence:
    """Position: shard -> sequence number."""

    api: ClusterApi
    index: str
    left_behind: tuple[str, ...] = ()
    """Fields that are not read; ``("*",)`` reads ids alone."""

    def now(self) -> dict[str, int]:
        return checkpoints(self.api, self.index)

    def pages(self, after: Position, upto: Position) -> Iterator[Page]:
        for shard, last in sorted(upto.items()):
            yield from self._of_shard(shard, after.get(shard, -1), last)

    def at_most(self, after: Position, upto: Position) -> int | None:
        return sum(max(0, last - after.get(shard, -1)) for shard, last in upto.items())

    def _of_shard(self, shard: str, read: int, last: int) -> Iterator[Page]:
        ids_alone = self.left_behind == ("*",)
        source: object = False if ids_alone else {"excludes": [*self.left_behind]}
        size = IDS_PAGE if ids_alone else PAGE
        window = WINDOW * size
        while read < last:
            end = min(read + window, last)
            hits = sequence_page(self.api, self.index, shard, (read, end), size, source)
            read = int(hits[-1]["_seq_no"]) if len(hits) == size else end
            if len(hits) < size // 2:
                window = min(2 * window, LARGEST_WINDOW)
            yield hits, {shard: read}


@dataclass(frozen=True)
class ByDate:
    """Position: :data:`CHANGED` -> milliseconds since 1970 of the last change, by a field that every write sets.

    A document whose field was not set is read by the first pass only.
    """

    api: ClusterApi
    index: str
    field: str
    left_behind: tuple[str, ...] = ()

    def now(self) -> dict[str, int]:
        self.api.refresh(self.index)
        body = {"size": 0, "aggs": {"last": {"max": {"field": self.field}}}}
        answer = self.api.search(self.index, body, {"search_pipeline": "_none"}, whole=True)
        value = answer["aggregations"]["last"]["value"]
        return {CHANGED: int(value) if value is not None else 0}

    def pages(self, after: Position, upto: Position) -> Iterator[Page]:
        query: Mapping[str, Any] | None = None
        if CHANGED in after:
            query = render("documents_changed", field=self.field, since=after[CHANGED] - OVERLAP)
        with closing(self.api.pages(self.index, PAGE, {"excludes": [*self.left_behind]}, query)) as pages:
            for hits in pages:
                yield hits, {}
        yield [], upto

    def at_most(self, after: Position, upto: Position) -> int | None:
        return None


def changes_of(api: ClusterApi, index: str, field: str | None, mappings: Mapping[str, Any], left: list[str]) -> Changes:
    """By the date field where one is named; raises :class:`InputError` if it is none."""
    if field is None:
        return BySequence(api, index, tuple(left))
    mapped: Mapping[str, Any] = mappings
    for name in field.split("."):
        mapped = mapped.get("properties", {}).get(name, {})
    if mapped.get("type") not in ("date", "date_nanos"):
        found = mapped.get("type", "not in its mapping")
        raise InputError(f"`changed_field` must be a date field of {index}; {field} is {found}")
    return ByDate(api, index, field, tuple(left))
