"""Columns of other people's tables under the names that rows have here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from osparse.corpus.sources.input_rows import FIELDS
from osparse.corpus.sources.records import Option
from osparse.errors import DatasetError, InputError
from osparse.io.ids import ID_FIELDS

KNOWN = sorted({name for fields in FIELDS.values() for name in fields} | set(ID_FIELDS))
COLUMNS = Option("", "what the table calls them, as query=question,pos=answer")


def parse_columns(text: str) -> dict[str, str]:
    """``query=question,pos=answer`` -> {"question": "query", "answer": "pos"}; raises :class:`InputError`."""
    found: dict[str, str] = {}
    for part in filter(None, text.split(",")):
        ours, equals, theirs = (piece.strip() for piece in part.partition("="))
        if not equals or ours not in KNOWN or not theirs:
            raise InputError(f"--option columns: wanted NAME=COLUMN with NAME of {', '.join(KNOWN)}; found {part!r}")
        found[theirs] = ours
    return found


def chosen(row: Mapping[str, Any], columns: Mapping[str, str], where: str) -> dict[str, Any]:
    """The row's known columns under our names; a single text where a list is wanted is a list of one."""
    if missing := [theirs for theirs in columns if theirs not in row]:
        raise DatasetError(f"{where}: no column {', '.join(missing)} (or it is null); it has: {', '.join(row)}")
    taken = set(columns.values())
    named = {columns.get(name, name): value for name, value in row.items() if name in columns or name not in taken}
    kept = {name: value for name, value in named.items() if name in KNOWN}
    if not {"query", "text"} & set(kept):
        raise DatasetError(
            f"{where}: none of its columns ({', '.join(row)}) is called text or query; say which with "
            "--option columns=query=...,pos=... or columns=id=...,text=..."
        )
    if "query" in kept:
        wanted = FIELDS["scored" if "docs" in kept else "pair"]
        kept = {name: value for name, value in kept.items() if name in wanted}
    for name in ("pos", "neg", "docs"):
        if isinstance(kept.get(name), str):
            kept[name] = [kept[name]]
    return kept
