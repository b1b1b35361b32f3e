"""The texts that ``osparse idf`` counts: a dataset's, or those of plain files; read one after another, never held."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import polars as pl

from osparse.contracts.dataset import ALL, Dataset
from osparse.corpus.sources.dates import day_of
from osparse.errors import DatasetError, InputError
from osparse.io.files import fingerprint, sha256_file
from osparse.io.tables import row_batches
from osparse.rows.read_rows import read_rows
from osparse.rows.row_rules import RowRules

Dated = tuple[str, datetime.date | None]
"""A text and its date."""
READ = 2_048
"""Rows of a dataset read at a time."""


@dataclass(frozen=True)
class CountedTexts:
    """Texts and what names them."""

    name: str
    """For messages."""
    about: dict[str, Any]
    """``dataset`` (a fingerprint) and ``split``: equal texts, equal values."""
    read: Callable[[], Iterator[Dated]]
    """From the start, each time."""
    total: int | None = None
    """How many there are, where that is known before they are read."""
    files: dict[str, str] = field(default_factory=dict)
    """Name -> sha256 of each file; none of a dataset."""


def counted_texts(source: Dataset | Sequence[Path], split: str | None, rules: RowRules | None = None) -> CountedTexts:
    """A dataset's documents (of its ``train`` split where it has one, else all) or every document of files.

    Args:
        rules: Which fields of the files' rows are the text; None takes ``text``.

    Raises:
        DatasetError: the dataset has no such split.
        InputError: no file, a file that does not exist, a split of files, or rules for a dataset.
    """
    rules = rules or RowRules()
    if isinstance(source, Dataset):
        if rules != RowRules():
            raise InputError("`text_field` and `template` are for files; the texts of a dataset are made already")
        return _of_dataset(source, split or source.learning_split)
    if not source:
        raise InputError("no documents: give a dataset directory or at least one file")
    if split not in (None, ALL):
        raise InputError(f"split must be {ALL} or left out for files, got {split!r}; splits belong to a dataset")
    for path in source:
        if not path.is_file():
            problem = "is not a file" if path.exists() else "does not exist"
            raise InputError(f"{path} {problem}; give one dataset directory, or files of documents")
    return _of_files(list(source), rules)


def _of_dataset(dataset: Dataset, split: str) -> CountedTexts:
    documents = dataset.split_documents(split)
    total = int(documents.select(pl.len()).collect(engine="streaming").item())
    rows = documents.select("text", "date")
    return CountedTexts(
        f"{dataset.path}, {split} split" if split != ALL else str(dataset.path),
        {"dataset": dataset.fingerprint, "split": split},
        lambda: chain.from_iterable(row_batches(rows, READ)),
        total,
    )


def _of_files(paths: list[Path], rules: RowRules) -> CountedTexts:
    checksums = [sha256_file(path) for path in paths]
    named = str(rules.template) if rules.template is not None else rules.text_field
    return CountedTexts(
        ", ".join(map(str, paths)),
        {"dataset": fingerprint(checksums), "split": ALL, **({"text": named} if named else {})},
        lambda: chain.from_iterable(_of_file(path, rules) for path in paths),
        files=dict(zip((path.name for path in paths), checksums, strict=True)),
    )


def _of_file(path: Path, rules: RowRules) -> Iterator[Dated]:
    """A row of blank text counts as little as in a dataset, which leaves it out; other fields are not looked at."""
    for where, row, _ in read_rows(path):
        text, date = _text(row, where, rules), row.get("date")
        if date is not None and not isinstance(date, str):
            raise DatasetError(f"{where}: date must be a string, found {type(date).__name__}")
        if text.strip():
            yield text, day_of(date, where)


def _text(row: dict[str, Any], where: str, rules: RowRules) -> str:
    field = rules.text_field or "text"
    try:
        text = row.get(field) if rules.template is None else rules.template.text_of(row)
    except ValueError as problem:
        raise DatasetError(f"{where}: {problem}") from None
    if not isinstance(text, str):
        named = field if rules.template is None else " or ".join(rules.template.fields)
        raise DatasetError(
            f"{where}: {named} must be a string, found {type(text).__name__}; the row has {', '.join(row)} (name the "
            "text with `text_field`)"
        )
    return text
