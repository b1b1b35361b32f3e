"""Documents to index or to delete, streamed with constant memory from JSON lines, Parquet or a dataset directory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from osparse.errors import InputError
from osparse.files import canonical_json, read_jsonl
from osparse.streams import decoded, lines

FIELDS = ("id", "text", "title", "lang", "date", "source")
"""What is indexed of a row; ``id`` and ``text`` must be there."""
HASH_FIELD = "osparse_hash"
"""Where the index keeps :attr:`Document.hash`."""
OPERATION = "_op"
"""What to do with a row: ``index`` where it says nothing, or ``delete``, which needs no text."""
_READ_ROWS = 2_000
MAX_ID_BYTES = 512


@dataclass(frozen=True)
class Document:
    """One valid document; ``fields`` are what the index stores of it."""

    id: str
    fields: dict[str, Any]

    @property
    def text(self) -> str:
        return str(self.fields["text"])

    @property
    def hash(self) -> str:
        """Of everything that is indexed: equal hash, nothing to do."""
        return hashlib.sha256(canonical_json(self.fields).encode("utf-8", "surrogatepass")).hexdigest()[:32]


@dataclass(frozen=True)
class Removal:
    """A document that must not be in the index."""

    id: str


@dataclass(frozen=True)
class Unusable:
    """A row that is no document; ``id`` is its place when it has none."""

    id: str
    reason: str


Row = Document | Removal | Unusable


def read_removals(paths: Sequence[Path]) -> Iterator[Row]:
    """Ids to delete: the ``id`` of each object of a ``.jsonl`` file, else one id per line.

    Raises:
        InputError: a path that is no file, or a line that is not JSON, with its number.
    """
    for path in paths:
        if path.suffix == ".jsonl":
            yield from (_removal(f"{path}:{number}", row) for number, row in read_jsonl(path))
            continue
        yield from _listed(path)


def read_documents(paths: Sequence[Path]) -> Iterator[Row]:
    """Every row of every path, in order.

    Raises:
        InputError: a path that does not exist or is of no known kind, or a line that is not JSON, with its number.
    """
    for path in paths:
        for place, row in _rows(path):
            yield _document(place, row)


def _listed(path: Path) -> Iterator[Row]:
    if not path.is_file():
        raise InputError(f"{path} is not a file; --delete takes a text file with one id per line, or a .jsonl file")
    for where, line in lines(path, may_be_empty=True, bar=False):
        yield _removal(where, {"id": decoded(line, where)})


def count_documents(paths: Sequence[Path]) -> int:
    """How many rows there are, without reading their text; raises :class:`InputError` as :func:`read_documents`."""
    return sum(_count(path) for path in paths)


def count_removals(paths: Sequence[Path]) -> int:
    """How many ids there are; raises :class:`InputError` as :func:`read_removals`."""
    return sum(1 for _ in read_removals(paths))


def _kind(path: Path) -> str:
    if (path / "manifest.json").is_file():
        return "dataset"
    if path.is_file():
        return "parquet" if path.suffix == ".parquet" else "jsonl"
    found = "is a directory without manifest.json" if path.is_dir() else "does not exist"
    raise InputError(f"{path} {found}; documents come from a .jsonl file, a .parquet file or a dataset directory")


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    kind = _kind(path)
    if kind == "jsonl":
        return ((f"{path}:{number}", row) for number, row in read_jsonl(path))
    return _dataset_rows(path) if kind == "dataset" else _parquet_rows(path)


def _dataset_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    from osparse.dataset import Dataset

    documents = Dataset.open(path).documents.select(*FIELDS)
    start = 0
    while rows := documents.slice(start, _READ_ROWS).collect().to_dicts():
        yield from ((f"{path} row {start + i}", row) for i, row in enumerate(rows))
        start += len(rows)


def _parquet_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            columns = [name for name in (*FIELDS, OPERATION) if name in file.schema_arrow.names]
            start = 0
            for batch in file.iter_batches(batch_size=_READ_ROWS, columns=columns):
                yield from ((f"{path} row {start + i}", row) for i, row in enumerate(batch.to_pylist()))
                start += batch.num_rows
    except pyarrow.ArrowInvalid as problem:
        raise InputError(f"{path} is not a Parquet file: {problem}") from None


def _count(path: Path) -> int:
    kind = _kind(path)
    if kind == "dataset":
        from osparse.dataset import Dataset

        return Dataset.open(path).manifest.counts["documents.arrow"]
    if kind == "parquet":
        import pyarrow
        from pyarrow import parquet

        try:
            return int(parquet.read_metadata(path).num_rows)
        except pyarrow.ArrowInvalid as problem:
            raise InputError(f"{path} is not a Parquet file: {problem}") from None
    with path.open("rb") as file:
        return sum(1 for line in file if line.strip())


def _document(place: str, row: dict[str, Any]) -> Row:
    operation = row.get(OPERATION)
    if operation == "delete":
        return _removal(place, row)
    found = _id(place, row)
    if isinstance(found, Unusable):
        return found
    if operation not in (None, "index"):
        return Unusable(found, f'{place}: {OPERATION} must be "index" or "delete", found {operation!r}')
    return _fields(place, found, row)


def _removal(place: str, row: dict[str, Any]) -> Removal | Unusable:
    found = _id(place, row)
    return found if isinstance(found, Unusable) else Removal(found)


def _id(place: str, row: dict[str, Any]) -> str | Unusable:
    found = row.get("id")
    if isinstance(found, int) and not isinstance(found, bool):
        found = str(found)
    if not isinstance(found, str) or not found:
        return Unusable(place, f"{place}: id must be a text or a whole number, found {found!r}")
    if len(found.encode("utf-8", "surrogatepass")) > MAX_ID_BYTES:
        return Unusable(found[:80], f"{place}: the id is longer than {MAX_ID_BYTES} bytes")
    return found


def _fields(place: str, found: str, row: dict[str, Any]) -> Document | Unusable:
    if not isinstance(row.get("text"), str):
        return Unusable(found, f"{place}: text must be a text, found {row.get('text')!r}")
    fields: dict[str, Any] = {"text": row["text"]}
    for name in ("title", "lang", "source"):
        value = row.get(name)
        if value is not None and not isinstance(value, str):
            return Unusable(found, f"{place}: {name} must be a text, found {value!r}")
        if value:
            fields[name] = value
    if row.get("date") not in (None, ""):
        value = row["date"]
        if isinstance(value, bool) or not isinstance(value, (str, int, date, datetime)):
            return Unusable(found, f"{place}: date must be a date, a text or whole milliseconds, found {value!r}")
        fields["date"] = value.isoformat() if isinstance(value, (date, datetime)) else value
    return Document(found, fields)
