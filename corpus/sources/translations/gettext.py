"""gettext catalogues, .po and .mo: each message and its translation (GNU gettext manual, "The Format of PO Files")."""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from osparse.corpus.sources.records import Option, Options, Reader, RowCounts, SourceRecord
from osparse.corpus.sources.translations.bitext import OPTIONS, Segment, bitext_records, chosen_languages, language_code
from osparse.errors import DatasetError
from osparse.plugins.extras import require


def read(paths: Sequence[Path], counts: RowCounts, options: Options) -> Iterator[SourceRecord]:
    """Yield a record per translated message of the files, and of all catalogues in the folders.

    Raises:
        DatasetError: a file is no catalogue, or does not name its language.
        MissingExtraError: polib is not installed.
    """
    catalogues = list(_catalogues(paths, chosen_languages(options)))
    segments = functools.partial(_segments, source_lang=language_code(str(options["source_lang"])))
    yield from bitext_records(catalogues, segments, counts, options)


def _catalogues(paths: Sequence[Path], chosen: set[str]) -> Iterator[Path]:
    """The files, and those of the folders; of a folder of many languages only the catalogues of the chosen ones."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        files = sorted(file for file in path.rglob("*") if file.suffix in (".po", ".mo") and file.is_file())
        if not files:
            raise DatasetError(f"{path} has no .po and no .mo file")
        yield from (file for file in files if not chosen or _language_of_path(file) in {*chosen, ""})


def _segments(path: Path, source_lang: str) -> Iterator[Segment]:
    catalogue = _opened(path)
    lang = language_code(catalogue.metadata.get("Language", "")) or _language_of_path(path)
    if not lang:
        raise DatasetError(
            f"{path} does not name its language: its header needs a line 'Language: ko', or its name must be "
            "ko.po or ko/LC_MESSAGES/NAME.mo"
        )
    for entry in catalogue:
        plural = entry.msgstr_plural
        if entry.obsolete or "fuzzy" in getattr(entry, "flags", ()):  # a compiled catalogue holds neither
            yield "fuzzy or obsolete"
        elif lang == source_lang:
            yield "a catalogue in the language of its messages"
        else:
            target = plural[max(plural)] if plural else entry.msgstr
            yield {source_lang: entry.msgid_plural or entry.msgid, lang: target}


def _opened(path: Path) -> Any:
    polib = require("polib", "corpus")
    if not path.is_file():
        raise DatasetError(f"{path} {'is not a file' if path.exists() else 'does not exist'}")
    try:
        return (polib.mofile if path.suffix == ".mo" else polib.pofile)(str(path))
    except (OSError, ValueError, LookupError, struct.error) as problem:
        raise DatasetError(f"{path} is not a gettext catalogue: {problem}") from None


def _language_of_path(path: Path) -> str:
    """Of ``ko/LC_MESSAGES/name.mo``, ``ko/LC_TIME/name.mo`` or ``ko.po``; "" where the path does not tell."""
    if path.parent.name.startswith("LC_"):
        return language_code(path.parent.parent.name)
    return language_code(path.stem) if 2 <= len(language_code(path.stem)) <= 3 else ""


READER = Reader(
    name="gettext",
    reads=".po and .mo catalogues, or folders of them such as /usr/share/locale",
    suffixes=(".po", ".mo"),
    licence="that of the programs whose messages they are",
    read=read,
    options={**OPTIONS, "source_lang": Option("en", "language of the untranslated messages")},
    same_text_is_relevant=False,
)
