"""Documents to index or to delete, streamed with constant memory from files of rows or a dataset directory."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osparse.deployer.fields.field_values import json_value
from osparse.deployer.fields.index_fields import IndexFields
from osparse.errors import InputError
from osparse.io.files import canonical_json, json_object
from osparse.io.locations import RemotePath, expanded
from osparse.io.streams import decoded, is_stream, lines
from osparse.opensearch_templates import render
from osparse.rows.field_types import Values, converted, look_ahead
from osparse.rows.ids import id_of, plain_id
from osparse.rows.read_rows import ReadRow, count_rows, documents_of_beir, read_rows
from osparse.rows.row_rules import RowRules, make_rules
from osparse.rows.text_template import RENAME, TEXT_FIELD, TextTemplate

if TYPE_CHECKING:
    from osparse.contracts.dataset import Dataset

log = logging.getLogger("osparse.deployer.load.documents")

TEXTS = ("title", "lang", "source")
"""Optional fields whose type osparse has set. ``id`` and ``text`` must be there; any other field is stored as it is."""
READ_ROWS = 2_000
"""Rows of a dataset in memory at once."""
HASH_FIELD = "osparse_hash"
"""Where the index keeps :attr:`DocumentRow.hash`."""
OPERATION = "_op"
"""What to do with a row: ``index`` where it says nothing, or ``delete``, which needs no text."""
MAX_ID_BYTES = 512
INFER_ROWS = 100_000
"""Rows that a mapping is inferred from before there is an index."""


@dataclass(frozen=True)
class DocumentRow:
    """One valid document; ``fields`` are what the index stores of it, beside what it has of other fields already."""

    id: str
    fields: dict[str, Any]
    cleared: frozenset[str] = frozenset()
    """Fields that the row has without a value (null): taken out of a document that is there."""
    typed: bool = True
    """False where the values of all fields are text because the file has no types (CSV and TSV)."""
    complete: bool = False
    """Whether ``fields`` are all of it: nothing else of a document that is there is kept."""

    @property
    def text(self) -> str:
        return str(self.fields["text"])

    @property
    def hash(self) -> str:
        """Of everything that is indexed, then of the fields taken out, if any: equal hash, nothing to do."""
        indexed = _hash(self.fields)
        return f"{indexed}-{_hash(sorted(self.cleared))}" if self.cleared else indexed

    def after(self, earlier: DocumentRow) -> DocumentRow:
        """This row with the fields of an earlier row of the same id that it neither has nor takes out."""
        fields = {name: value for name, value in earlier.fields.items() if name not in self.cleared}
        cleared = (earlier.cleared - self.fields.keys()) | self.cleared
        return replace(self, fields={**fields, **self.fields}, cleared=cleared, complete=earlier.complete)

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
    paths: Sequence[Path], rules: RowRules | None = None, index: IndexFields | None = None
) -> Iterator[Row]:
    """Every row of every path, in order.

    Args:
        rules: Names of id and text, fields renamed or left out, and how the text is made; None: rows as they are.
        index: Gets the types of new fields from the first rows, and gives those of tables that have none.

    Raises:
        InputError: a path that does not exist, or a row that cannot be read, with its place.
    """
    rules = rules or RowRules()
    rows: Iterator[ReadRow] = chain.from_iterable(map(_rows, paths))
    if index is not None:
        ahead, rows = look_ahead(rows)
        index.learn(_known(ahead, rules), as_text=as_text(rules.template))
    for row in rows:
        yield document_of(row, rules, index)
    warn_of_unused(rules)


def documents_of_file(path: Path, rules: RowRules) -> Iterator[Row]:
    """Every row of one path, without an index; raises as :func:`read_documents`."""
    return (document_of(row, rules) for row in _rows(path))


def warn_of_unused(rules: RowRules) -> None:
    """Once all rows have been read."""
    if unused := rules.unused():
        log.warning("no row has the field %s, which should be renamed or left out", ", ".join(unused))


def infer_mapping(
    paths: Sequence[Path | str],
    *,
    id_field: str | None = None,
    text_field: str | Sequence[str] | None = None,
    template: str | None = None,
    exclude: Sequence[str] = (),
    rename: Mapping[str, str] | None = None,
    rows: int = INFER_ROWS,
) -> dict[str, Any]:
    """``{"mappings": ...}`` for the fields of the documents beside those that every osparse index has.

    Args:
        rows: How many rows are looked at, at most. All other arguments are those of :func:`index_documents`.

    Raises:
        InputError: as :func:`read_documents`; no document.
    """
    rules = make_rules(id_field, text_field, template, exclude, rename)
    seen, text, documents = Values(), as_text(rules.template), 0
    found = chain.from_iterable(map(_rows, expanded(paths)))
    for fields, typed in _known(islice(found, rows), rules):
        documents += 1
        for name, value in fields.items():
            if name not in (TEXT_FIELD, *TEXTS, "date"):
                seen.at(name.split(".")).see(value, typed=typed or name in text)
    if not documents:
        raise InputError("no row is a document with an id and a text; name them with `id_field` and `text_field`")
    return {"mappings": render("mapping_fields", properties=seen.fields())}


def as_text(template: TextTemplate | None) -> frozenset[str]:
    """Fields that stay text because the text is made of them."""
    return frozenset(template.fields if template is not None else ())


def _known(rows: Iterable[ReadRow], rules: RowRules) -> Iterator[tuple[dict[str, Any], bool]]:
    """The fields of those rows that are documents, and whether their values have types."""
    for row in rows:
        document = document_of(row, rules)
        if isinstance(document, DocumentRow):
            yield document.fields, row.typed


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


def _dataset_of(path: Path) -> Dataset | None:
    """The dataset at ``path``, or None for a file."""
    if isinstance(path, RemotePath) or not path.is_dir():
        return None
    from osparse.contracts.dataset import Dataset

    if not (path / "manifest.json").is_file():
        raise InputError(
            f"{path} is a directory without manifest.json; documents come from files, a BEIR folder or a dataset "
            "directory"
        )
    return Dataset.open(path)


def _rows(path: Path) -> Iterator[ReadRow]:
    path = documents_of_beir(path)
    dataset = _dataset_of(path)
    return _dataset_rows(path, dataset) if dataset is not None else read_rows(path, may_be_empty=True, bar=False)


def _dataset_rows(path: Path, dataset: Dataset) -> Iterator[ReadRow]:
    from osparse.io.tables import row_batches

    names = dataset.documents.collect_schema().names()
    for number, row in enumerate(chain.from_iterable(row_batches(dataset.documents, READ_ROWS))):
        yield ReadRow(f"{path} row {number}", dict(zip(names, row, strict=True)))


def _count(path: Path) -> int | None:
    path = documents_of_beir(path)
    dataset = _dataset_of(path)
    return dataset.manifest.counts["documents.arrow"] if dataset is not None else count_rows(path)


def document_of(found: ReadRow, rules: RowRules, index: IndexFields | None = None) -> Row:
    """A row as a document; ``index`` gives the types of cells that have none."""
    place, raw = found.where, found.row
    try:
        row = rules.renamed(raw)
    except ValueError as problem:
        return UnusableRow(str(id_of(raw, rules.id_field) or place)[:80], f"{place}: {problem}")
    operation = row.get(OPERATION)
    if operation == "delete":
        return _removal(place, row, rules.id_field)
    name = _id(place, row, rules.id_field)
    if isinstance(name, UnusableRow):
        return name
    if operation not in (None, "index"):
        return UnusableRow(name, f'{place}: {OPERATION} must be "index" or "delete", found {operation!r}')
    try:
        return _fields(name, row, rules, None if found.typed else index, found.typed)
    except ValueError as problem:
        return UnusableRow(name, f"{place}: {problem}")


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


def _fields(name: str, row: dict[str, Any], rules: RowRules, types: IndexFields | None, typed: bool) -> DocumentRow:
    """The document, cells of a table converted to ``types``; raises :class:`ValueError` with what is wrong."""
    text = as_text(rules.template)
    fields, cleared = {TEXT_FIELD: _text(row, rules)}, set[str]()
    taken = {"_id", OPERATION, TEXT_FIELD, *(["id"] if rules.id_field in (None, "id") else [])}
    if rules.template is None:
        taken.add(rules.text_field or TEXT_FIELD)
    for column, value in rules.kept(row).items():
        if column in taken:
            continue  # the server keeps the id itself and takes no field of the name _id
        if value is None or (value == "" and column in (*TEXTS, "date")):
            cleared.add(column)
        else:
            kind = types.kind(column) if types is not None and column not in text else ""
            fields[column] = _field(column, converted(value, kind))
    return DocumentRow(name, fields, frozenset(cleared), typed)


def _text(row: dict[str, Any], rules: RowRules) -> str:
    """What is encoded and stored as the text; raises :class:`ValueError`."""
    if rules.template is not None:
        return _composed(row, rules.template, None if TEXT_FIELD in rules.exclude else row.get(TEXT_FIELD))
    column = rules.text_field or TEXT_FIELD
    text = row.get(column)
    if text is None and column in row:
        raise ValueError(f"{column} is empty, and it is the text that is searched; fill it, or leave the row out")
    if not isinstance(text, str):
        raise ValueError(f"{column} must be a text, found {text!r}{_instead(text, row, 'text_field')}")
    if column != TEXT_FIELD and row.get(TEXT_FIELD) is not None:
        raise ValueError(f"{column} is stored as {TEXT_FIELD}, but the row has a {TEXT_FIELD} too; rename it")
    return text


def _composed(row: dict[str, Any], template: TextTemplate, own: object) -> str:
    """As the index's own pipeline does it: a row without any of the fields keeps its ``own`` text."""
    text = template.text_of(row)
    if text is None and isinstance(own, str):
        return own
    if text is None:
        raise ValueError(f"the text is made of {', '.join(template.fields)}{_instead(None, row, 'text_field')}")
    if own not in (None, text):
        raise ValueError(
            f"the text is made of {', '.join(template.fields)}, but the row has a {TEXT_FIELD} too; {RENAME}, or leave "
            "it out"
        )
    return text


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
