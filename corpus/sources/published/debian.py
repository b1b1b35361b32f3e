"""deb-koen: Korean and English package descriptions, aligned by the md5 of the English original.

A record is one description. Its synopsis, in each language, is a query; its long description, in each language, is a
document that answers both. The group is the source package, so that -dev, -doc and -dbg siblings share a split. With
the option ``english=true`` the descriptions that have no usable Korean are added, as pairs in English alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from osparse.algorithms.language import HANGUL_SHARE, hangul_share, is_hangul
from osparse.corpus.sources.published.apt import fetch_lists, find_lists, stanzas
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
from osparse.corpus.split.splits import split_of
from osparse.errors import DatasetError
from osparse.io.files import canonical_json
from osparse.io.progress import track

ALONE = "debian-english"
"""Source of the documents that have no Korean, by which training can mix the two."""
MIN_BODY = 40
"""Characters, in both languages."""
Text = tuple[str, str]
"""Synopsis and long description."""


def read(paths: Sequence[Path], counts: RowCounts, options: Options) -> Iterator[SourceRecord]:
    """Fetch the lists of this machine's apt sources, or read a folder of lists, and yield a record per description.

    Raises:
        DatasetError: no apt, no network, a malformed list.
    """
    if len(paths) > 1 or any(not path.is_dir() for path in paths):
        given = " ".join(map(str, paths))
        raise DatasetError(f"source debian takes no `paths`, or one folder of apt lists; got {given}")
    if paths:
        yield from read_lists(find_lists(paths[0]), counts, english=bool(options["english"]))
        return
    with tempfile.TemporaryDirectory(prefix="osparse-apt-") as folder:
        yield from read_lists(fetch_lists(Path(folder)), counts, english=bool(options["english"]))


def read_lists(lists: Sequence[Path], counts: RowCounts, *, english: bool = False) -> Iterator[SourceRecord]:
    """Join the Korean and English lists, filter, and yield records by rising md5; then, if asked, the English alone."""
    korean = _translations(lists, "ko", counts)
    originals = _translations(lists, "en", None)
    packages = source_packages(lists)
    for md5 in sorted(korean):
        texts = {"ko": korean[md5], "en": originals.get(md5, ("", ""))}
        reason = why_not(texts["ko"], texts["en"])
        if reason is not None:
            counts.drop(reason)
            continue
        counts.kept += 1
        group = packages.get(md5, "")
        counts.digest.update(canonical_json([md5, group, texts["ko"], texts["en"]]).encode())
        yield _record(md5, group, texts)
        originals.pop(md5)
    if english:
        yield from _english_alone(originals, packages, counts)


def _english_alone(originals: dict[str, Text], packages: dict[str, str], counts: RowCounts) -> Iterator[SourceRecord]:
    for md5 in sorted(originals):
        (synopsis, body), group = originals[md5], packages.get(md5, "")
        if not synopsis.strip() or len(body) < MIN_BODY:
            counts.drop(f"English alone, under {MIN_BODY} characters")
        elif not group or split_of(group) != "train":
            counts.drop("English alone, of a source package that is held back or not known")
        else:
            counts.kept += 1
            counts.notes["english_alone"] = counts.notes.get("english_alone", 0) + 1
            counts.digest.update(canonical_json([md5, group, synopsis, body]).encode())
            yield _record(md5, group, {"en": (synopsis, body)}, ALONE)


def why_not(korean: Text, english: Text) -> str | None:
    """The reason for which a description is left out, or None to keep it."""
    if not english[0]:
        return "no English original"
    if not any(map(is_hangul, korean[0])):
        return "no Hangul in the synopsis"
    if hangul_share(korean[1]) < HANGUL_SHARE:
        return f"under {HANGUL_SHARE:.0%} Hangul letters"
    if min(len(korean[1]), len(english[1])) < MIN_BODY:
        return f"under {MIN_BODY} characters"
    return None


def fold(lines: Sequence[str]) -> str:
    """A long description's text: wrapped lines joined, " ." parting paragraphs, indented lines left on their own.

    Source: Debian Policy 5.6.13: one leading space is running text, two or more are shown as they stand.
    """
    paragraphs: list[list[str]] = [[]]
    running = False
    for line in lines:
        was_running, running = running, line[1:2] not in (" ", "\t", "")
        if line.strip() == ".":
            paragraphs.append([])
            running = False
        elif was_running and running:
            paragraphs[-1][-1] = f"{paragraphs[-1][-1]} {line.strip()}"
        elif line.strip():
            paragraphs[-1].append(line.strip())
    return "\n\n".join("\n".join(lines) for lines in paragraphs if lines)


def source_packages(lists: Sequence[Path]) -> dict[str, str]:
    """Description md5 -> source package; the first by name where several packages share a description.

    A description that no list of this architecture names stays out: its source, hence its siblings, are unknown.
    """
    sources: dict[str, str] = {}
    for path in lists:
        if "_Packages" not in path.name:
            continue
        for start, stanza in track(stanzas(path), f"reading {path.name[-40:]}", unit="packages"):
            if "Description-md5" not in stanza:
                continue  # a third-party repository without translations
            if "Package" not in stanza:
                raise DatasetError(f"{path}:{start}: a package without a Package field")
            md5 = stanza["Description-md5"][0]
            name = stanza.get("Source", stanza["Package"])[0].split()[0]  # "gcc-12 (12.2.0-14)" without the version
            sources[md5] = min(name, sources.get(md5, name))
    return sources


def _translations(lists: Sequence[Path], lang: str, counts: RowCounts | None) -> dict[str, Text]:
    texts: dict[str, Text] = {}
    for path in lists:
        if f"_Translation-{lang}" not in path.name:
            continue
        for start, stanza in track(stanzas(path), f"reading {path.name[-40:]}", unit="descriptions"):
            if "Description-md5" not in stanza or f"Description-{lang}" not in stanza:
                raise DatasetError(f"{path}:{start}: a translation needs Description-md5 and Description-{lang}")
            md5, lines = stanza["Description-md5"][0], stanza[f"Description-{lang}"]
            if md5 not in texts:
                texts[md5] = (lines[0], fold(lines[1:]))
            elif counts is not None:
                counts.drop("the same description under another package")
    return texts


def _record(md5: str, group: str, texts: dict[str, Text], source: str = "") -> SourceRecord:
    documents = tuple(
        SourceDocument(f"deb:{md5}:{lang}", texts[lang][1], lang, group=group, source=source) for lang in texts
    )
    queries = tuple(SourceQuery(f"deb:{md5}:{lang}:q", texts[lang][0], lang) for lang in texts)
    judgements = tuple(Judgement(q.id, d.id, group=group) for q in queries for d in documents)
    return SourceRecord(documents, queries, judgements)


READER = Reader(
    name="debian",
    reads="no PATH (this machine's apt sources, no root), or a folder of apt lists",
    licence="package descriptions, each under its own package's licence (see /usr/share/doc/PACKAGE/copyright)",
    read=read,
    options={"english": Option(False, "add descriptions without Korean, as English pairs for training alone")},
    needs_paths=False,
)
