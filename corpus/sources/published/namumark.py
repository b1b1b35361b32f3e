"""NamuWiki markup to plain text, paragraphs intact."""

from __future__ import annotations

import html
import re

_REDIRECT = re.compile(r"\s*#\s*(redirect|넘겨주기)\s", re.I)
_DISAMBIGUATION = re.compile(r"\[\[분류:[^\]]*동음이의어[^\]]*\]\]|\[include\(틀:동음이의")
_FOOTNOTE = re.compile(r"\[\*[^\[\]]*(?:\[\[[^\]]*\]\][^\[\]]*)*\]")
_MACRO = re.compile(
    r"\[(?:include|br|목차|tableofcontents|각주|footnote|age|date|datetime|dday|youtube|kakaotv|nicovideo|ruby|anchor|"
    r"clearfix|math)(?:\([^\]]*\))?\]",
    re.I,
)
_LINK = re.compile(r"\[\[([^\[\]|]*)(?:\|([^\[\]]*))?\]\]")
_BRACES = re.compile(r"\{\{\{(?:#!\w+[^\n]*\n|[+-]\d\s|#[^\s{}]+\s)?([^{}]*)\}\}\}")
_MARKS = re.compile(r"'{2,3}|~~|__|,,|\^\^|(?<!-)--(?!-)")
_TABLE = re.compile(r"^\s*\|\|.*$", re.M)
_HEADING = re.compile(r"^={1,6}#?\s.*?\s#?={1,6}\s*$", re.M)
_DROPPED_LINKS = ("파일:", "이미지:", "분류:", "틀:")


def is_redirect(markup: str) -> bool:
    return _REDIRECT.match(markup) is not None


def is_disambiguation(title: str, markup: str) -> bool:
    return title.endswith(("(동음이의어)", "(동음이의)")) or _DISAMBIGUATION.search(markup) is not None


def plain_text(markup: str) -> str:
    """Paragraphs parted by a blank line; without tables, footnotes, macros, files, categories and headings."""
    text = _FOOTNOTE.sub("", markup.replace("\r\n", "\n"))
    text = _MACRO.sub("", text)
    text = _LINK.sub(_link, text)
    for _ in range(4):  # braces nest: size inside colour inside folding
        text, changed = _BRACES.subn(lambda m: m[1], text)
        if not changed:
            break
    text = _HEADING.sub("\n", _TABLE.sub("", text))
    lines = [_line(line) for line in _MARKS.sub("", html.unescape(text)).split("\n")]
    paragraphs = re.split(r"\n{2,}", "\n".join(lines))
    return "\n\n".join(paragraph.strip() for paragraph in paragraphs if paragraph.strip())


def _link(found: re.Match[str]) -> str:
    target, label = found[1], found[2]
    if target.startswith(_DROPPED_LINKS):
        return ""
    return label if label is not None else target.lstrip(":").partition("#")[0]


def _line(line: str) -> str:
    line = re.sub(r"^\s*(?:>+|\*|1\.|##.*|-{4,})\s*", "", line)
    return " ".join(line.split())
