"""Wiki markup to plain text, paragraphs intact: one pass over the brackets, then a few line rules.

Own code for its speed on whole dumps (``benchmarks/corpus.py`` compares it with mwparserfromhell): only the running
text of an article is needed, not its syntax tree. Templates are not expanded, but those that only mark a language keep
their text.
"""

from __future__ import annotations

import html
import re

DROPPED_SECTIONS = frozenset(
    "같이 보기|각주|주해|외부 링크|참고 문헌|참고 자료|출처|갤러리|see also|references|external links|further reading|"
    "notes|footnotes|bibliography|sources|citations|gallery".split("|")
)
DROPPED_LINKS = frozenset("file|image|media|category|파일|그림|미디어|분류".split("|"))
KEPT_TEMPLATES = frozenset("lang|llang|transl|nobr|nowrap|small|한자|zh|nihongo".split("|"))
_DISAMBIGUATION = re.compile(
    r"\{\{\s*(동음이의|동명이인|disambig|hndis|geodis|surname|given name)[^{}]*\}\}|__DISAMBIG__", re.I
)
_REDIRECT = re.compile(r"\s*#\s*(redirect|넘겨주기)\b", re.I)
_LANGUAGE_LINK = re.compile(r"[a-z]{2,3}(-[a-z]+)*:")

_CUT = re.compile(
    r"<!--.*?(?:-->|\Z)|<(ref|math|gallery|timeline|syntaxhighlight|source|score|imagemap|chem)\b(?:[^>]*?/>|[^>]*>.*?</\1\s*>)",
    re.S | re.I,
)
_BRACKETS = re.compile(r"\{\{|\}\}|^[ \t:*]*\{\||\|\}(?!\})|\[\[|\]\]", re.M)
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
_BREAK = re.compile(r"<\s*(?:br|/p|/div)\b[^>]*>", re.I)
_EXTERNAL = re.compile(r"\[(?:https?:|ftp:|mailto:)?//[^\s\]]+\s*([^\]]*)\]|\[mailto:\S+\s+([^\]]*)\]")
_QUOTES = re.compile(r"'{2,5}")
_MAGIC = re.compile(r"__[A-Z가-힣]+__")
_EMPTY_PARENTHESES = re.compile(r" ?[(（][\s,;:·、/]*[)）]")
_DANGLING = re.compile(r"([(（])[\s,;:、]+|[\s,;:、]+([)）])")
_HEADING = re.compile(r"(={1,6})\s*(.*?)\s*\1\s*")


def is_redirect(markup: str) -> bool:
    return _REDIRECT.match(markup) is not None


def is_disambiguation(title: str, markup: str) -> bool:
    """A page that only lists the meanings of its title."""
    return title.endswith(("(동음이의)", "(disambiguation)")) or _DISAMBIGUATION.search(markup) is not None


def plain_text(markup: str) -> str:
    """Paragraphs parted by a blank line; without tables, templates, notes, files, headings and reference sections."""
    text = _without_brackets(_CUT.sub("", markup))
    text = _BREAK.sub("\n", text)
    text = _TAG.sub("", _EXTERNAL.sub(lambda m: m[1] or m[2] or "", text))
    text = _MAGIC.sub("", _QUOTES.sub("", html.unescape(text))).replace("\xa0", " ")
    text = _DANGLING.sub(lambda m: m[1] or m[2], _EMPTY_PARENTHESES.sub("", text))
    return _paragraphs(text)


def _without_brackets(text: str) -> str:
    """Resolve links, templates and tables with a stack; what is opened and never closed keeps its text."""
    stack: list[tuple[str, list[str]]] = [("", [])]
    at = 0
    for found in _BRACKETS.finditer(text):
        if found.start() > at:
            stack[-1][1].append(text[at : found.start()])
        at = found.end()
        token = found[0].lstrip(" \t:*")
        if token in ("{{", "[[", "{|"):
            stack.append((token, []))
        else:
            _close(stack, {"}}": "{{", "]]": "[[", "|}": "{|"}[token])
    stack[-1][1].append(text[at:])
    while len(stack) > 1:
        _, pieces = stack.pop()
        stack[-1][1].extend(pieces)
    return "".join(stack[0][1])


def _close(stack: list[tuple[str, list[str]]], opener: str) -> None:
    """End the innermost ``opener``; what was opened inside it and never closed ends with it. None open: ignored."""
    if all(kind != opener for kind, _ in stack):
        return
    while True:
        kind, pieces = stack.pop()
        inner = "".join(pieces)
        if kind == opener:
            stack[-1][1].append(_link(inner) if kind == "[[" else _template(inner) if kind == "{{" else "\n")
            return
        stack[-1][1].append(inner)


def _link(inner: str) -> str:
    target, bar, label = inner.partition("|")
    prefix = target.partition(":")[0].strip().lower() if ":" in target else ""
    if prefix in DROPPED_LINKS or (not bar and _LANGUAGE_LINK.match(target)):
        return ""
    return label.rpartition("|")[2] if bar else target.lstrip(":")


def _template(inner: str) -> str:
    name, bar, rest = inner.partition("|")
    name = name.strip().lower()
    if not bar or not (name in KEPT_TEMPLATES or name.startswith("lang-")):
        return ""
    values = [value for value in rest.split("|") if "=" not in value]
    return values[-1].strip() if values else ""


def _paragraphs(text: str) -> str:
    paragraphs: list[list[str]] = [[]]
    dropping = 0
    for line in text.split("\n"):
        line = line.strip()
        heading = _HEADING.fullmatch(line) if line.startswith("=") else None
        if heading:
            depth = len(heading[1])
            if not dropping or depth <= dropping:
                dropping = depth if heading[2].strip().lower() in DROPPED_SECTIONS else 0
            paragraphs.append([])
        elif not line:
            paragraphs.append([])
        elif not dropping and not line.startswith(("|", "!", "----")):
            paragraphs[-1].append(" ".join(line.lstrip("*#:; ").split()))
    return "\n\n".join("\n".join(filter(None, lines)) for lines in paragraphs if any(lines))
