"""XLIFF files, 1.2 and 2.x (OASIS): the source and the target of each translation unit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

from osparse.corpus.sources.records import Options, Reader, RowCounts, SourceRecord
from osparse.corpus.sources.translations.bitext import OPTIONS, Segment, bitext_records
from osparse.corpus.sources.translations.xml_elements import elements, local_name, running_text
from osparse.errors import DatasetError

NATIVE_CODE = frozenset({"bpt", "ept", "it", "ph", "x", "bx", "ex", "sub"})
"""Inline elements whose content is formatting code of the translated file, not text."""
UNFINISHED = frozenset({"new", "initial", "needs-translation", "needs-l10n", "needs-adaptation"})
"""States of a target that is not a translation yet."""


def read(paths: Sequence[Path], counts: RowCounts, options: Options) -> Iterator[SourceRecord]:
    """Yield a record per translated unit.

    Raises:
        DatasetError: a file is not XLIFF, names no languages, or is not well-formed (path:line).
    """
    yield from bitext_records(paths, _segments, counts, options)


def _segments(path: Path) -> Iterator[Segment]:
    langs = ("", "")
    for element in elements(path, "xliff", "trans-unit", "segment", begins=("xliff", "file")):
        if local_name(element) in ("xliff", "file"):  # 2.x names its languages on the first, 1.2 on the second
            named = _languages(element)
            langs = named if all(named) else langs
        elif not all(langs):
            raise DatasetError(f"{path} names no source and target language (srcLang and trgLang of <xliff>)")
        else:
            yield _segment(element, *langs)


def _segment(unit: Element, source_lang: str, target_lang: str) -> Segment:
    parts = {local_name(child): child for child in unit if local_name(child) in ("source", "target")}
    target = parts.get("target")
    if target is None or "source" not in parts:
        return "not in two languages"
    if (target.get("state") or unit.get("state")) in UNFINISHED or unit.get("approved") == "no":
        return "not translated yet"
    texts = (running_text(part, NATIVE_CODE) for part in (parts["source"], target))
    return dict(zip((source_lang, target_lang), texts, strict=True))


def _languages(element: Element) -> tuple[str, str]:
    return (
        element.get("srcLang") or element.get("source-language") or "",
        element.get("trgLang") or element.get("target-language") or "",
    )


READER = Reader(
    name="xliff",
    reads="XLIFF 1.2 and 2.x",
    licence="the user's own files",
    read=read,
    options=OPTIONS,
    same_text_is_relevant=False,
)
