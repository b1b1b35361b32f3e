"""Translated segments of catalogues and translation memories: a segment of one language answers that of another.

A segment in each language is a document and a query; a query is judged by the documents in the other languages. The
groups for the split are connected components of segments that share a text, so that no text is in two splits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

from osparse.corpus.sources.records import (
    Judgement,
    Option,
    Options,
    RowCounts,
    SourceDocument,
    SourceQuery,
    SourceRecord,
)
from osparse.corpus.split.groups import Components, node, text_id
from osparse.io.files import canonical_json

Segment = Mapping[str, str] | str
"""Language -> text of one segment; or the reason why it is left out."""

OPTIONS = {
    "langs": Option("", "languages to keep, as in en,ko (every language of the files)"),
    "min_characters": Option(2, "letters that a segment must have in each language"),
}
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_SHORTCUT_AT_END = re.compile(r"\s*\([_&~]\w\)")
"""The keyboard shortcut of a Korean, Japanese or Chinese label: "파일(_F)"."""
_SHORTCUT = re.compile(r"(?<!\w)[_&~](?=\w)")


def bitext_records(
    paths: Sequence[Path], segments: Callable[[Path], Iterator[Segment]], counts: RowCounts, options: Options
) -> Iterator[SourceRecord]:
    """Yield a record per segment that has a text in two languages or more, each set of texts once.

    Args:
        segments: Reads one of the files; called twice for each, so that no text is held.
    """
    chosen = chosen_languages(options)
    smallest = int(options["min_characters"])

    def usable() -> Iterator[dict[str, str] | str]:
        seen = set[int]()
        for segment in chain.from_iterable(map(segments, paths)):
            texts = segment if isinstance(segment, str) else _texts(segment, chosen, smallest)
            if not isinstance(texts, str):
                name = node("segment", canonical_json(texts))
                if name in seen:
                    texts = "the same segment again"
                seen.add(name)
            yield texts

    groups = Components()
    for texts in usable():
        if not isinstance(texts, str):
            first, *others = (node(lang, text) for lang, text in texts.items())
            for other in others:
                groups.link(first, other)
    groups.close()
    for texts in usable():
        if isinstance(texts, str):
            counts.drop(texts)
            continue
        counts.kept += 1
        counts.digest.update(canonical_json(texts).encode() + b"\n")
        yield _record(texts, groups.group(node(*next(iter(texts.items())))))


def chosen_languages(options: Options) -> set[str]:
    """Those of the option ``langs``; empty for every language."""
    return {language_code(lang) for lang in str(options["langs"]).split(",") if lang.strip()}


def language_code(tag: str) -> str:
    """The language of a tag, without country and script: "ko" of "ko_KR.UTF-8"."""
    return re.split(r"[-_.@]", tag.strip().lower(), maxsplit=1)[0]


def plain_text(text: str) -> str:
    """A label or message as it is read: without markup, keyboard shortcuts and line breaks."""
    text = _SHORTCUT_AT_END.sub("", _TAG.sub(" ", text))
    return " ".join(_SHORTCUT.sub("", text).split())


def _texts(segment: Mapping[str, str], chosen: set[str], smallest: int) -> dict[str, str] | str:
    texts = {language_code(lang): plain_text(text) for lang, text in sorted(segment.items())}
    texts = {lang: text for lang, text in texts.items() if text and (not chosen or lang in chosen)}
    if len(texts) < 2:
        return "not in two languages"
    if len(set(texts.values())) == 1:
        return "the same text in each language"
    if min(sum(map(str.isalpha, text)) for text in texts.values()) < smallest:
        return f"under {smallest} letters"
    return texts


def _record(texts: Mapping[str, str], group: str) -> SourceRecord:
    documents = {lang: SourceDocument(text_id(lang, text), text, lang, group=group) for lang, text in texts.items()}
    queries = {lang: SourceQuery(text_id(f"{lang}:q", text), text, lang) for lang, text in texts.items()}
    judgements = tuple(
        Judgement(query.id, document.id, group=group)
        for asked, query in queries.items()
        for lang, document in documents.items()
        if lang != asked and texts[lang] != texts[asked]
    )
    return SourceRecord(tuple(documents.values()), tuple(queries.values()), judgements)
