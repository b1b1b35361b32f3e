"""What every reader yields: documents, queries and judgements that belong together, and a tally of each row's fate."""

from __future__ import annotations

import datetime
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from osparse.dataset import Source


@dataclass(frozen=True)
class Document:
    id: str
    text: str
    lang: str
    title: str = ""
    date: datetime.date | None = None
    group: str = ""
    """What must stay in one split; "" belongs to no group (a shared distractor, or splits that came published)."""
    source: str = ""
    """Where a reader's rows come from many places; "" is the reader's name."""


@dataclass(frozen=True)
class Query:
    id: str
    text: str
    lang: str
    date: datetime.date | None = None


@dataclass(frozen=True)
class Judgement:
    query_id: str
    document_id: str
    score: float = 1.0
    origin: str = "annotated"
    group: str = ""
    """Of the query. A query of an unknown group is never held back: it goes to train."""
    split: str | None = None
    """Where the source itself published splits; None lets the group decide."""


@dataclass(frozen=True)
class Record:
    documents: tuple[Document, ...] = ()
    queries: tuple[Query, ...] = ()
    judgements: tuple[Judgement, ...] = ()


@dataclass
class Tally:
    """Counts rows while a reader reads them; ``rows_in`` = kept + every drop."""

    name: str
    licence: str
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    """Of the content, never of file names or times."""
    notes: dict[str, int] = field(default_factory=dict)
    """Facts about the source worth keeping in the manifest."""

    def drop(self, reason: str, rows: int = 1) -> None:
        self.dropped[reason] += rows

    def source(self) -> Source:
        dropped = dict(sorted(self.dropped.items()))
        rows_in = self.kept + sum(dropped.values())
        return Source(self.name, self.licence, rows_in, self.kept, dropped, self.digest.hexdigest())


@dataclass(frozen=True)
class Reader:
    """One source of text. ``read(paths, tally)`` yields records and stops at the first malformed row."""

    name: str
    licence: str
    read: Callable[[Sequence[Path], Tally], Iterator[Record]]
    needs_paths: bool = True
    same_text_is_relevant: bool = True
    """Identical bodies answer the same queries; false where the source's own judgements are complete."""

    recipe: int = 1
    """Raised when the same input would give another dataset, so that an older one no longer counts as up to date."""

    def tally(self) -> Tally:
        return Tally(self.name, self.licence)
