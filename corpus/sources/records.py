"""What every reader yields: documents, queries and judgements that belong together; and the counts of its rows."""

from __future__ import annotations

import datetime
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from osparse.contracts.dataset import Source
from osparse.errors import InputError

IGNORED_COLUMNS = "ignored_columns"
"""The note that names, by source, the columns of a table that nothing was read from."""


@dataclass(frozen=True, slots=True)
class SourceDocument:
    id: str
    text: str
    lang: str
    """"" where the source does not name it: it is then detected."""
    title: str = ""
    date: datetime.date | None = None
    group: str = ""
    """What must stay in one split; "" belongs to no group (a shared distractor, or splits that came published)."""
    source: str = ""
    """Where a reader's rows come from many places; "" is the reader's name."""
    place: str = ""
    """``path:line`` of an id that the source gave. Rows of an id that was made from the text have none: they merge."""


@dataclass(frozen=True, slots=True)
class SourceQuery:
    id: str
    text: str
    lang: str
    """"" where the source does not name it: it is then detected."""
    date: datetime.date | None = None
    place: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    query_id: str
    document_id: str
    score: float = 1.0
    origin: str = "annotated"
    group: str = ""
    """Of the query. A query of an unknown group is never held back: it goes to train."""
    split: str | None = None
    """Where the source itself published splits; None lets the group decide."""
    place: str = ""
    and_translations: bool = False
    """Whether the other documents of ``group`` answer too, where they are translations: one document of a language."""


@dataclass(frozen=True, slots=True)
class SourceCandidate:
    """A hard negative, or a teacher's score: see osparse.contracts.dataset.CANDIDATES. Its split is its query's."""

    query_id: str
    document_id: str
    label: float | None = None
    score: float | None = None
    origin: str = "annotated"
    scorer: str = ""


@dataclass(frozen=True, slots=True)
class SourceRecord:
    documents: tuple[SourceDocument, ...] = ()
    queries: tuple[SourceQuery, ...] = ()
    judgements: tuple[Judgement, ...] = ()
    candidates: tuple[SourceCandidate, ...] = ()


@dataclass
class RowCounts:
    """Rows of a source, counted while a reader reads them; ``rows_in`` = kept + every drop."""

    name: str
    licence: str
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    """Of the content, never of file names or times; a reader that leaves it alone gets that of its files."""
    notes: dict[str, int] = field(default_factory=dict)
    """Facts about the source worth keeping in the manifest."""
    ignored_columns: set[str] = field(default_factory=set)
    """Columns of a table that some row has no field for."""
    used_columns: set[str] = field(default_factory=set)
    """Columns of a table that some row has a field for."""

    def drop(self, reason: str, rows: int = 1) -> None:
        self.dropped[reason] += rows

    def all_notes(self) -> dict[str, Any]:
        """The notes, and the columns that no field of any row was read from."""
        unread = sorted(self.ignored_columns - self.used_columns)
        return {**self.notes, **({IGNORED_COLUMNS: {self.name: unread}} if unread else {})}

    def source(self) -> Source:
        dropped = dict(sorted(self.dropped.items()))
        rows_in = self.kept + sum(dropped.values())
        return Source(self.name, self.licence, rows_in, self.kept, dropped, self.digest.hexdigest())


@dataclass(frozen=True)
class Option:
    """One of a reader's own settings."""

    default: str | bool | int
    """Its type is the value's."""
    help: str
    file: bool = False
    """Whether it names a file, whose content then counts among the inputs."""

    def parse(self, name: str, text: str) -> str | bool | int:
        if isinstance(self.default, bool):
            if text not in ("true", "false"):
                raise InputError(f"option {name} must be true or false, got {text!r}")
            return text == "true"
        if isinstance(self.default, int):
            if not text.isdecimal():
                raise InputError(f"option {name} must be a whole number, got {text!r}")
            return int(text)
        return text


Options = Mapping[str, str | bool | int]


def counted(records_or_reasons: Iterable[SourceRecord | str], counts: RowCounts) -> Iterator[SourceRecord]:
    """Count what a reader made of each row: a record, which is passed on, or the reason why the row is dropped."""
    for result in records_or_reasons:
        if isinstance(result, str):
            counts.drop(result)
        else:
            counts.kept += 1
            yield result


@dataclass(frozen=True)
class Reader:
    """One kind of source. ``read(paths, counts, options)`` yields records and stops at the first malformed row."""

    name: str
    reads: str
    """The files it takes and their fields, in one line: shown by ``--help`` and in errors."""
    licence: str
    read: Callable[[Sequence[Path], RowCounts, Options], Iterator[SourceRecord]]
    options: Mapping[str, Option] = field(default_factory=dict)
    needs_paths: bool = True
    suffixes: tuple[str, ...] = ()
    """Of the files of a folder that are read; () all of them. A dataset is made again when one of them changes."""
    independent_files: bool = False
    """Each file can be read alone: a build that was interrupted continues with the files it had not finished."""
    same_text_is_relevant: bool = True
    """Identical bodies answer the same queries; false where the source's own judgements are complete."""

    recipe: int = 1
    """Raised when the same input would give another dataset, so that an older one no longer counts as up to date."""

    def counts(self) -> RowCounts:
        return RowCounts(self.name, self.licence)

    def chosen(self, given: Mapping[str, str]) -> Options:
        """All options, those ``given`` parsed; raises :class:`InputError` for one that the reader does not have."""
        if unknown := sorted(set(given) - set(self.options)):
            known = ", ".join(f"{name} ({option.help})" for name, option in self.options.items()) or "none"
            raise InputError(f"source {self.name} has no option {', '.join(unknown)}; it has: {known}")
        return {
            name: option.parse(name, given[name]) if name in given else option.default
            for name, option in self.options.items()
        }
