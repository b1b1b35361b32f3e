"""Small files of each translation format."""

from __future__ import annotations

import gzip
from pathlib import Path

import polib
from sample_topics import COUNT, topic


def _gettext(folder: Path) -> list[Path]:
    """A catalogue as it is edited (header, a fuzzy and an untranslated message, a plural) and one that is compiled."""
    header = 'msgid ""\nmsgstr "Language: ko\\nContent-Type: text/plain; charset=UTF-8\\n"\n\n'
    entries = [f'msgid "{topic(i, "en")[0]} (_{"E"})"\nmsgstr "{topic(i, "ko")[0]}(_E)"\n' for i in range(COUNT // 2)]
    fuzzy = '#, fuzzy\nmsgid "almost"\nmsgstr "거의"\n'
    (folder / "names.po").write_text(
        "\n".join([header, *entries, fuzzy, 'msgid "later"\nmsgstr ""\n']), encoding="utf-8"
    )
    compiled = polib.POFile()
    compiled.metadata = {"Content-Type": "text/plain; charset=UTF-8"}
    for i in range(COUNT // 2, COUNT - 1):
        compiled.append(polib.POEntry(msgid=topic(i, "en")[0], msgstr=topic(i, "ko")[0]))
    forms = {0: "파일 %d개"}
    compiled.append(polib.POEntry(msgid="%d file", msgid_plural="%d files", msgstr_plural=forms))
    (folder / "locale/ko/LC_MESSAGES").mkdir(parents=True)
    compiled.save_as_mofile(str(folder / "locale/ko/LC_MESSAGES/pages.mo"))
    return [folder / "names.po", folder / "locale"]


def _tmx(folder: Path) -> list[Path]:
    units = [
        f'<tu><tuv xml:lang="en-US"><seg><bpt i="1">&lt;b&gt;</bpt>{topic(i, "en")[0]}<ept i="1">&lt;/b&gt;</ept></seg></tuv>'
        f'<tuv xml:lang="ko"><seg><hi>{topic(i, "ko")[0]}</hi></seg></tuv></tu>'
        for i in range(COUNT)
    ]
    alone = '<tu><tuv xml:lang="en-US"><seg>without a translation</seg></tuv></tu>'
    head = '<header creationtool="t" segtype="sentence" o-tmf="t" adminlang="en" srclang="en-US" datatype="plaintext"/>'
    text = f'<tmx version="1.4">{head}<body>{"".join(units)}{units[0]}{alone}</body></tmx>'
    (folder / "memory.tmx").write_bytes(f'<?xml version="1.0" encoding="UTF-16"?>\n{text}'.encode("utf-16"))
    return [folder / "memory.tmx"]


def _xliff(folder: Path) -> list[Path]:
    """Version 1.2 and version 2.0."""
    old = [
        f'<trans-unit id="{i}"><source>{topic(i, "en")[0]}<x id="1"/></source><target state="translated">'
        f'<g id="1">{topic(i, "ko")[0]}</g></target></trans-unit>'
        for i in range(COUNT // 2)
    ]
    later = '<trans-unit id="later"><source>later</source><target state="new">later</target></trans-unit>'
    file = '<file original="a" datatype="plaintext" source-language="en" target-language="ko"><body>'
    (folder / "old.xlf").write_text(
        f'<xliff version="1.2" xmlns="urn:oasis:names:tc:xliff:document:1.2">{file}{"".join(old)}{later}</body></file></xliff>'
    )
    new = [
        f'<unit id="{i}"><segment><source>{topic(i, "en")[0]}</source><target><pc id="1">{topic(i, "ko")[0]}</pc></target>'
        "</segment></unit>"
        for i in range(COUNT // 2, COUNT)
    ]
    (folder / "new.xlf").write_bytes(
        gzip.compress(
            '<xliff version="2.0" xmlns="urn:oasis:names:tc:xliff:document:2.0" srcLang="en" trgLang="ko-KR">'
            f'<file id="f">{"".join(new)}</file></xliff>'.encode()
        )
    )
    return [folder / "old.xlf", folder / "new.xlf"]


def _mallard(folder: Path) -> list[Path]:
    """Pages in two languages; the last is not translated, and one more has no text."""

    def page(title: str, paragraphs: str) -> str:
        info = "<info><desc>summary</desc><credit><name>someone</name></credit></info>"
        body = "".join(f"<p><gui>{text}</gui></p>" for text in paragraphs.split("\n\n"))
        section = f"<steps><item>{body}</item></steps><links/>"
        return f'<page xmlns="http://projectmallard.org/1.0/">{info}<title>{title}</title>{section}</page>'

    for lang in ("C", "ko"):
        manual = folder / "help" / lang / "manual"
        manual.mkdir(parents=True)
        for i in range(COUNT):
            content = topic(i, "en" if lang == "C" or i == COUNT - 1 else "ko")
            (manual / f"{i}.page").write_text(page(*content), encoding="utf-8")
        empty = '<page xmlns="http://projectmallard.org/1.0/"><title>empty</title></page>'
        (manual / "empty.page").write_text(empty)
    return [folder / "help"]
