"""A Wikipedia XML dump (pages-articles, multistream or not): an article is a document, its title a query.

The language is the dump's own ``xml:lang``. Any export version is read: names are matched without their namespace. With
``langlinks`` (the dump's langlinks.sql.gz) an article shares its group with the English one.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO
from xml.etree import ElementTree

from osparse.algorithms.language import UNDETERMINED
from osparse.corpus.sources.published.wikitext import is_disambiguation, is_redirect, plain_text
from osparse.corpus.sources.records import (
    Judgement,
    Option,
    Options,
    Reader,
    RowCounts,
    SourceDocument,
    SourceQuery,
    SourceRecord,
)
from osparse.errors import DatasetError
from osparse.io.streams import FETCH_AGAIN, decoded, lines, opened

_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
_LANGLINK = re.compile(r"\((\d+),'en','((?:[^'\\]|\\.)*)'\)")


def read(paths: Sequence[Path], counts: RowCounts, options: Options) -> Iterator[SourceRecord]:
    """Yield a record per article of every dump.

    Raises:
        DatasetError: no MediaWiki export, broken XML (line and column), cut off or damaged compressed data.
    """
    english = _english_titles(Path(str(options["langlinks"]))) if options["langlinks"] else {}
    for path in paths:
        with opened(path) as file:
            for lang, page in _pages(file, path):
                record = _article(lang, page, english, int(options["min_characters"]), counts)
                if isinstance(record, str):
                    counts.drop(record)
                else:
                    counts.kept += 1
                    yield record


def _pages(file: BinaryIO, path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """(language, the page's fields) in constant memory: what was read is taken off the tree."""
    try:
        events = ElementTree.iterparse(file, events=("start", "end"))
        _, root = next(events)
        if _name(root) != "mediawiki":
            raise DatasetError(f"{path}:1: not a MediaWiki export: it begins with <{_name(root)}>; {FETCH_AGAIN}")
        lang = root.get(_LANG, "")
        for event, element in events:
            if event == "end" and _name(element) == "page":
                yield lang, _fields(element)
                root.clear()
    except ElementTree.ParseError as problem:
        line, column = problem.position
        raise DatasetError(f"{path}:{line}: broken XML at column {column}: {problem}; {FETCH_AGAIN}") from None


def _name(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _fields(page: ElementTree.Element) -> dict[str, str]:
    """title, ns, id, redirect (if there), and of the revision: timestamp, text, format."""
    fields: dict[str, str] = {}
    for element in page:
        name = _name(element)
        if name == "revision":
            fields |= {
                _name(part): part.text or "" for part in element if _name(part) in ("timestamp", "text", "model")
            }
        else:
            fields[name] = element.text or ""
    return fields


def _article(
    lang: str, page: dict[str, str], english: dict[int, str], shortest: int, counts: RowCounts
) -> SourceRecord | str:
    """The record, or why the page is left out."""
    title, markup = page.get("title", ""), page.get("text", "")
    if page.get("ns", "0") != "0":
        return "not an article (another namespace)"
    if "redirect" in page or is_redirect(markup):
        return "redirect"
    if page.get("model", "wikitext") != "wikitext":
        return "no wikitext"
    if is_disambiguation(title, markup):
        return "disambiguation"
    text = plain_text(markup)
    if len(text) < shortest:
        return f"under {shortest} characters"
    number = page.get("id", "")
    name, date = f"wiki:{lang or UNDETERMINED}:{number}", _date(page.get("timestamp", ""))
    translated = title if lang == "en" else english.get(int(number), "") if number.isdecimal() else ""
    group = f"wiki:en:{translated}" if translated else name
    place = f"page {number} {title!r} of {counts.name}"
    document = SourceDocument(name, text, lang, title=title, date=date, group=group, place=place)
    query = SourceQuery(f"{name}:q", title, lang, date, place=place)
    judgement = Judgement(query.id, name, group=group, place=place, and_translations=True)
    return SourceRecord((document,), (query,), (judgement,))


def _date(timestamp: str) -> datetime.date | None:
    try:
        return datetime.date.fromisoformat(timestamp[:10])
    except ValueError:
        return None


def _english_titles(path: Path) -> dict[int, str]:
    """Page id -> title of the English article, from a langlinks table dump."""
    titles: dict[int, str] = {}
    for where, line in lines(path):
        if line.startswith(b"INSERT INTO"):
            for number, title in _LANGLINK.findall(decoded(line, where)):
                if title:
                    titles[int(number)] = re.sub(r"\\(.)", r"\1", title).replace("_", " ")
    if not titles:
        raise DatasetError(f"{path}: no links to English; required: the langlinks.sql.gz of the same dump")
    return titles


READER = Reader(
    name="wikipedia",
    reads="XML dumps (pages-articles, multistream or not; .bz2, .gz, .xml)",
    licence="CC BY-SA 4.0 and GFDL (Wikipedia contributors)",
    read=read,
    options={
        "min_characters": Option(100, "shortest article that is kept, after cleaning"),
        "langlinks": Option(
            "", "langlinks.sql.gz of the same dump: groups articles with their English ones", file=True
        ),
    },
    independent_files=True,
)
