"""Documents to index or to delete, streamed with constant memory from JSON lines, Parquet or a dataset directory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

from osparse.deployer.load.field_values import json_value
from osparse.errors import InputError
from osparse.io.files import canonical_json, json_object
from osparse.io.ids import id_of, plain_id
from osparse.io.streams import decoded, is_stream, json_rows, lines
from osparse.io.tabular import is_table, table_length, table_rows

TEXT_FIELD = "text"
"""Where the index keeps the text that is encoded."""
TEXTS = ("title", "lang", "source")
"""Optional fields whose type osparse has set. ``id`` and ``text`` must be there; any other field is stored as it is."""
READ_ROWS = 2_000
"""Rows of a dataset in memory at once."""
HASH_FIELD = "osparse_hash"
"""Where the index keeps :attr:`DocumentRow.hash`."""
OPERATION = "_op"
"""What to do with a row: ``index`` where it says nothing, or ``delete``, which needs no text."""
MAX_ID_BYTES = 512


@dataclass(frozen=True)
class DocumentRow:
    """One valid document; ``fields`` are what the index stores of it, beside what it has of other fields already."""

    id: str
    fields: dict[str, Any]
    cleared: frozenset[str] = frozenset()
    """Fields that the row has without a value (null): taken out of a document that is there."""
    complete: ClassVar[bool] = False
    """Whether ``fields`` are all of it: nothing else of a document that is there is kept."""

    @property
    def text(self) -> str:
        return str(self.fields["text"])

    @property
    def hash(self) -> str:
        """Of everything that is indexed, then of the fields taken out, if any: equal hash, nothing to do."""
        indexed = _hash(self.fields)
        return f"{indexed}-{_hash(sorted(self.cleared))}" if self.cleared else indexed

    def is_content_of(self, stored_hash: object) -> bool:
        """Whether a row that indexed these fields has the hash, whatever it took out."""
        return isinstance(stored_hash, str) and stored_hash.partition("-")[0] == _hash(self.fields)


@dataclass(frozen=True)
class DeletionRow:
    """A document that must not be in the index."""

    id: str


@dataclass(frozen=True)
class UnusableRow:
    """A row that is no document; ``id`` is its place when it has none."""

    id: str
    reason: str


Row = DocumentRow | DeletionRow | UnusableRow


def _hash(content: object) -> str:
    return hashlib.sha256(canonical_json(content).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def read_removals(paths: Sequence[Path]) -> Iterator[Row]:
    """Ids to delete: the id of each object of a file of JSON lines, else one id per line.

    Files may be compressed; ``-`` is standard input.

    Raises:
        InputError: a path that is no file, or a line that cannot be read, with its number.
    """
    for path in paths:
        rows, as_json = lines(path, may_be_empty=True, bar=False), path.suffix == ".jsonl"
        for number, (where, line) in enumerate(rows):
            as_json = as_json or (number == 0 and _is_row(line))
            row = (
                json_object(line, where, InputError)
                if as_json
                else {"id": decoded(line, f"{where}: an id must be UTF-8")}
            )
            yield _removal(where, row, None)


def _is_row(line: bytes) -> bool:
    """Whether a list of ids is JSON lines, whatever its name: the first line is an object that has an id."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(row, dict) and id_of(row) is not None


def read_documents(
    paths: Sequence[Path], *, id_field: str | None = None, text_field: str | None = None
) -> Iterator[Row]:
    """Every row of every path, in order.

    Args:
        id_field: Name of the id in the rows; None takes ``id`` or ``_id``.
        text_field: Name of the text in the rows; None takes ``text``.

    Raises:
        InputError: a path that does not exist or is of no known kind, or a line that is not JSON, with its number.
    """
    for path in paths:
        for place, row in _rows(path, id_field, text_field or TEXT_FIELD):
            yield _document(place, row, id_field, text_field or TEXT_FIELD)


def count_documents(paths: Sequence[Path]) -> int | None:
    """How many rows there are, without reading their text; None where that cannot be told before (a pipe).

    Raises :class:`InputError` as :func:`read_documents`.
    """
    counts = [_count(path) for path in paths]
    return None if None in counts else sum(filter(None, counts))


def count_removals(paths: Sequence[Path]) -> int | None:
    """How many ids there are; None where that cannot be told before. Raises :class:`InputError`."""
    if any(is_stream(path) for path in paths):
        return None
    return sum(1 for _ in read_removals(paths))


def _kind(path: Path) -> str:
    if is_stream(path):
        return "jsonl"
    if (path / "manifest.json").is_file():
        return "dataset"
    if path.is_file():
        if is_table(path):
            return "table"
        if path.suffix in (".parquet", ".pq"):
            raise InputError(f"{path} is not a Parquet file: it does not begin with PAR1")
        return "jsonl"
    found = "is a directory without manifest.json" if path.is_dir() else "does not exist"
    raise InputError(f"{path} {found}; documents come from JSON lines, a Parquet or Arrow file or a dataset directory")


def _rows(path: Path, id_field: str | None, text_field: str) -> Iterator[tuple[str, dict[str, Any]]]:
    kind = _kind(path)
    if kind == "dataset":
        return _dataset_rows(path)
    if kind == "table":
        return table_rows(path, nulls=True, bar=False)
    return json_rows(path, may_be_empty=True, bar=False)


def _dataset_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    from osparse.contracts.dataset import Dataset
    from osparse.io.tables import row_batches

    documents = Dataset.open(path).documents
    names = documents.collect_schema().names()
    for number, row in enumerate(chain.from_iterable(row_batches(documents, READ_ROWS))):
        yield f"{path} row {number}", dict(zip(names, row, strict=True))


def _count(path: Path) -> int | None:
    kind = _kind(path)
    if is_stream(path):
        return None
    if kind == "dataset":
        from osparse.contracts.dataset import Dataset

        return Dataset.open(path).manifest.counts["documents.arrow"]
    if kind == "table":
        return table_length(path)
    return sum(1 for _ in lines(path, may_be_empty=True, bar=False))


def _document(place: str, row: dict[str, Any], id_field: str | None, text_field: str) -> Row:
    operation = row.get(OPERATION)
    if operation == "delete":
        return _removal(place, row, id_field)
    found = _id(place, row, id_field)
    if isinstance(found, UnusableRow):
        return found
    if operation not in (None, "index"):
        return UnusableRow(found, f'{place}: {OPERATION} must be "index" or "delete", found {operation!r}')
    return _fields(place, found, row, id_field or "id", text_field)


def _removal(place: str, row: dict[str, Any], id_field: str | None) -> DeletionRow | UnusableRow:
    found = _id(place, row, id_field)
    return found if isinstance(found, UnusableRow) else DeletionRow(found)


def _id(place: str, row: dict[str, Any], id_field: str | None) -> str | UnusableRow:
    value = id_of(row, id_field)
    found = plain_id(value)
    if found is None:
        said = f"{place}: {id_field or 'id'} must be a text or a whole number, found {value!r}"
        return UnusableRow(place, said + _instead(value, row, "id_field"))
    if len(found.encode("utf-8", "surrogatepass")) > MAX_ID_BYTES:
        return UnusableRow(found[:80], f"{place}: the id is longer than {MAX_ID_BYTES} bytes")
    return found


def _instead(value: object, row: dict[str, Any], parameter: str) -> str:
    """What a row without the field has."""
    if value is not None:
        return ""
    return f"; the row has {', '.join(sorted(row)) or 'no field'} (name it with `{parameter}`)"


def _fields(place: str, found: str, row: dict[str, Any], id_field: str, text_field: str) -> DocumentRow | UnusableRow:
    text = row.get(text_field)
    if not isinstance(text, str):
        said = f"{place}: {text_field} must be a text, found {text!r}"
        return UnusableRow(found, said + _instead(text, row, "text_field"))
    if text_field != TEXT_FIELD and row.get(TEXT_FIELD) is not None:
        reason = f"{place}: {text_field} is stored as {TEXT_FIELD}, but the row has a {TEXT_FIELD} too; rename it"
        return UnusableRow(found, reason)
    fields, cleared = {TEXT_FIELD: text}, set[str]()
    for name, value in row.items():
        if name in ("_id", OPERATION, TEXT_FIELD, text_field) or name == id_field == "id":
            continue  # the server keeps the id itself and takes no field of the name _id
        if value is None or (value == "" and name in (*TEXTS, "date")):
            cleared.add(name)
            continue
        try:
            fields[name] = _field(name, value)
        except ValueError as problem:
            return UnusableRow(found, f"{place}: {problem}")
    return DocumentRow(found, fields, frozenset(cleared))


def _field(name: str, value: Any) -> Any:
    """What is stored; raises :class:`ValueError` with what the field must be."""
    if name.split(".")[0] == HASH_FIELD:
        raise ValueError(f"{name} is a field of osparse's own; leave it out, or rename it")
    if name in TEXTS and not isinstance(value, str):
        raise ValueError(f"{name} must be a text, found {value!r}")
    if name == "date" and (isinstance(value, bool) or not isinstance(value, (str, int, date, datetime))):
        raise ValueError(f"date must be a date, a text or whole milliseconds, found {value!r}")
    try:
        return json_value(value)
    except ValueError as problem:
        raise ValueError(f"{name} must be a value of JSON, found {problem}") from None
