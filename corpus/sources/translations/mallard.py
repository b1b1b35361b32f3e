"""Mallard help pages (projectmallard.org 1.0), as GNOME's: a page's title asks for the page, in each language.

A folder holds a folder per language (C: the source's), in it one per manual, in it NAME.page, as in /usr/share/help.
The text begins with the page's description, which is all that a page of links has. Translations share a group.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

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
from osparse.corpus.sources.translations.bitext import chosen_languages, language_code
from osparse.corpus.sources.translations.xml_elements import local_name, running_text
from osparse.errors import DatasetError
from osparse.io.files import canonical_json

SOURCE = "C"
"""The folder of the pages that were translated."""
UNTRANSLATED = 0.5
"""A translation is left out if more of its paragraphs than this are those of the source."""
_BLOCKS = frozenset({"p", "title", "screen", "code", "comment"})
_LEFT_OUT = frozenset({"info", "media", "links"})


class _Page(NamedTuple):
    title: str
    paragraphs: tuple[str, ...]


def read(paths: Sequence[Path], counts: RowCounts, options: Options) -> Iterator[SourceRecord]:
    """Yield a record per page with its translations.

    Raises:
        DatasetError: a folder is not laid out by language, or a page is not well-formed (path:line).
    """
    chosen, source_lang = chosen_languages(options), language_code(str(options["source_lang"]))
    for path in paths:
        langs = _languages(path, source_lang)
        for page in sorted((path / SOURCE).rglob("*.page")):
            name = page.relative_to(path / SOURCE).with_suffix("").as_posix()
            files = {lang: folder / f"{name}.page" for folder, lang in langs.items() if not chosen or lang in chosen}
            original = _page(page)
            pages = {lang: original if file == page else _page(file) for lang, file in files.items() if file.is_file()}
            translated = _translated(original, pages, source_lang)
            counts.notes["untranslated"] = counts.notes.get("untranslated", 0) + len(pages) - len(translated)
            if not any(page.paragraphs for page in translated.values()):
                counts.drop("no text")
                continue
            counts.kept += 1
            counts.digest.update(canonical_json([name, translated]).encode() + b"\n")
            yield _record(name, translated)


def _languages(path: Path, source_lang: str) -> dict[Path, str]:
    """Folder -> language; the first of several folders of one language (pt and pt_BR)."""
    if not (path / SOURCE).is_dir():
        raise DatasetError(f"{path} has no folder {SOURCE}: it must hold a folder per language, as /usr/share/help")
    folders = {path / SOURCE: source_lang}
    for folder in sorted(entry for entry in path.iterdir() if entry.is_dir() and entry.name != SOURCE):
        if language_code(folder.name) not in folders.values():
            folders[folder] = language_code(folder.name)
    return folders


def _page(path: Path) -> _Page:
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as problem:
        raise DatasetError(f"{path}:{problem.position[0]}: not well-formed XML: {problem}") from None
    if local_name(root) != "page":
        raise DatasetError(f"{path} is not a Mallard page: it begins with <{local_name(root)}>, not with <page>")
    title = next((_text(child) for child in root if local_name(child) == "title"), "")
    info = [child for child in root if local_name(child) == "info"]
    about = [_text(child) for child in chain.from_iterable(info) if local_name(child) == "desc"]
    body = [child for child in root if local_name(child) != "title"]
    return _Page(title, tuple(filter(None, chain(about, *map(_paragraphs, body)))))


def _paragraphs(element: Element) -> Iterator[str]:
    if local_name(element) in _BLOCKS:
        yield _text(element)
    elif local_name(element) not in _LEFT_OUT:
        for child in element:
            yield from _paragraphs(child)


def _text(element: Element) -> str:
    return " ".join(running_text(element, _LEFT_OUT).split())


def _translated(original: _Page, pages: Mapping[str, _Page], source_lang: str) -> dict[str, _Page]:
    """The pages without the translations that are mostly the original."""
    paragraphs = set(original.paragraphs)

    def share_untranslated(page: _Page) -> float:
        return sum(text in paragraphs for text in page.paragraphs) / max(1, len(page.paragraphs))

    return {
        lang: page for lang, page in pages.items() if lang == source_lang or share_untranslated(page) <= UNTRANSLATED
    }


def _record(name: str, pages: Mapping[str, _Page]) -> SourceRecord:
    group = f"page:{name}"
    texts = {lang: "\n\n".join(page.paragraphs) for lang, page in pages.items() if page.paragraphs}
    documents = {
        lang: SourceDocument(f"{group}:{lang}", text, lang, title=pages[lang].title, group=group)
        for lang, text in texts.items()
    }
    queries = [SourceQuery(f"{group}:{lang}:q", pages[lang].title, lang) for lang in texts if pages[lang].title]
    judgements = tuple(
        Judgement(query.id, document.id, group=group) for query in queries for document in documents.values()
    )
    return SourceRecord(tuple(documents.values()), tuple(queries), judgements)


READER = Reader(
    name="mallard",
    reads="a folder of help pages by language, such as /usr/share/help of the package gnome-user-docs",
    suffixes=(".page",),
    licence="that of the pages (GNOME's: CC BY-SA 3.0)",
    read=read,
    options={
        "langs": Option("", "languages to keep, as in en,ko (every language of the folder)"),
        "source_lang": Option("en", f"language of the folder {SOURCE}"),
    },
)
