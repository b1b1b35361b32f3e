"""TMX translation memories (TMX 1.4b, Localization Industry Standards Association): texts of a unit by language."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from osparse.corpus.sources.records import Options, Reader, RowCounts, SourceRecord
from osparse.corpus.sources.translations.bitext import OPTIONS, Segment, bitext_records
from osparse.corpus.sources.translations.xml_elements import XML_LANG, elements, local_name, running_text

NATIVE_CODE = frozenset({"bpt", "ept", "it", "ph", "ut"})
"""Inline elements whose content is formatting code of the translated file, not text."""


def read(paths: Sequence[Path], counts: RowCounts, options: Options) -> Iterator[SourceRecord]:
    """Yield a record per translation unit.

    Raises:
        DatasetError: a file is not TMX, or not well-formed (path:line).
    """
    yield from bitext_records(paths, _segments, counts, options)


def _segments(path: Path) -> Iterator[Segment]:
    for unit in elements(path, "tmx", "tu"):
        texts: dict[str, str] = {}
        for variant in (child for child in unit if local_name(child) == "tuv"):
            lang = variant.get(XML_LANG) or variant.get("lang") or ""
            segment = next((child for child in variant if local_name(child) == "seg"), None)
            if lang and segment is not None:
                texts.setdefault(lang, running_text(segment, NATIVE_CODE))
        yield texts


READER = Reader(
    name="tmx",
    reads="TMX translation memories",
    licence="the user's own files",
    read=read,
    options=OPTIONS,
    same_text_is_relevant=False,
)
