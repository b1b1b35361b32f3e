"""The filter language: ``price < 100 and (brand:acme or not exists stock)`` becomes a tree.

    filter     = all { "or" all }
    all        = one { "and" one }
    one        = "not" one | "(" filter ")" | "exists" FIELD | comparison
    comparison = FIELD ( ":" | "=" | "!=" ) operand | FIELD ( "<" | "<=" | ">" | ">=" ) VALUE
               | FIELD [ "not" ] "in" "(" operand { "," operand } ")"
    operand    = VALUE | [ VALUE ] ".." [ VALUE ]

A FIELD or VALUE is a word, or anything in single or double quotes with ``\\`` before a quote or a ``\\``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, NoReturn

from osparse.errors import InputError

DEEPEST = 50
"""Parentheses and ``not`` within each other."""
OPERATOR = re.compile(r"!=|<=|>=|==?|<|>|:")
FIELD = re.compile(r"[^\s()<>=!:,\"']+")
VALUE = re.compile(r"(?!\.\.)[^\s(),\"'<>=!](?:(?!\.\.)[^\s(),])*")
QUOTED = re.compile(r"\"((?:[^\"\\]|\\.)*)\"|'((?:[^'\\]|\\.)*)'", re.DOTALL)
WORD = re.compile(r"\w+")
RESERVED = {"and", "or", "not", "in", "exists"}

Operator = Literal[":", "=", "<", "<=", ">", ">="]


@dataclass(frozen=True)
class Name:
    """A field or a value, and where it stands in the filter."""

    text: str
    at: int


@dataclass(frozen=True)
class Comparison:
    field: Name
    operator: Operator
    value: Name


@dataclass(frozen=True)
class Between:
    """Both bounds belong to the range; None leaves it open on that side."""

    field: Name
    low: Name | None
    high: Name | None


@dataclass(frozen=True)
class Exists:
    field: Name


@dataclass(frozen=True)
class Not:
    part: Node


@dataclass(frozen=True)
class Group:
    """``and`` or ``or`` of at least two parts."""

    joined_by: Literal["and", "or"]
    parts: tuple[Node, ...]
    spans: tuple[tuple[int, int], ...]
    """(start, end) of each part in the filter."""


Node = Comparison | Between | Exists | Not | Group


def parse(text: str) -> Node:
    """Raises :class:`InputError` naming the character where the filter goes wrong."""
    return _Parser(text).whole()


def fail(text: str, at: int, problem: str) -> NoReturn:
    """Raise :class:`InputError`: ``problem`` at the character ``at`` of the filter ``text``, counted from 1."""
    raise InputError(f"`filter`: at character {at + 1}, {problem}: {text[:at]}\u25b8{text[at:]}")


class _Parser:
    """Recursive descent over ``text``; ``at`` is the character read next."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.depth = text, 0, 0

    def whole(self) -> Node:
        node = self._group("or")
        if self._skip() < len(self.text):
            self._expected("and, or, or the end of the filter")
        return node

    def _group(self, joined_by: Literal["and", "or"]) -> Node:
        parts, spans = list[Node](), list[tuple[int, int]]()
        while not parts or self._keyword(joined_by):
            start = self._skip()
            parts.append(self._group("and") if joined_by == "or" else self._one())
            spans.append((start, self.at))
        return parts[0] if len(parts) == 1 else Group(joined_by, tuple(parts), tuple(spans))

    def _one(self) -> Node:
        self.depth += 1
        if self.depth > DEEPEST:
            fail(self.text, self._skip(), f"more than {DEEPEST} parentheses or not within each other")
        node = self._nested_one()
        self.depth -= 1
        return node

    def _nested_one(self) -> Node:
        if self._keyword("not"):
            return Not(self._one())
        if self._symbol("("):
            node = self._group("or")
            if not self._symbol(")"):
                self._expected("and, or, or )")
            return node
        if self._keyword("exists"):
            return Exists(self._name(FIELD, "a field"))
        return self._comparison()

    def _comparison(self) -> Node:
        field = self._name(FIELD, "a field")
        if self._keyword("not"):
            return Not(self._in_list(field))
        if (operator := OPERATOR.match(self.text, self._skip())) is None:
            return self._in_list(field)
        self.at = operator.end()
        if operator[0] in (":", "=", "==", "!="):
            node = self._operand(field, ":" if operator[0] == ":" else "=")
            return Not(node) if operator[0] == "!=" else node
        return Comparison(field, operator[0], self._name(VALUE, f"a value after {operator[0]}"))  # type: ignore[arg-type]

    def _in_list(self, field: Name) -> Node:
        if not self._keyword("in"):
            self._expected("an operator (: = != < <= > >= in)")
        if not self._symbol("("):
            self._expected("( after in")
        parts, spans = list[Node](), list[tuple[int, int]]()
        while not parts or self._symbol(","):
            start = self._skip()
            parts.append(self._operand(field, ":"))
            spans.append((start, self.at))
        if not self._symbol(")"):
            self._expected(", or )")
        return parts[0] if len(parts) == 1 else Group("or", tuple(parts), tuple(spans))

    def _operand(self, field: Name, operator: Operator) -> Node:
        low = None if self._ahead("..") else self._name(VALUE, "a value")
        is_range = self._symbol("..")
        if low is not None and not is_range:
            return Comparison(field, operator, low)
        high = None if self._ends_operand() else self._name(VALUE, "a value after ..")
        if low is None and high is None:
            self._expected("a value before or after ..")
        return Between(field, low, high)

    def _name(self, pattern: re.Pattern[str], what: str) -> Name:
        start = self._skip()
        if (quoted := QUOTED.match(self.text, start)) is not None:
            self.at = quoted.end()
            return Name(
                re.sub(r"\\(.)", r"\1", quoted[1] if quoted[1] is not None else quoted[2], flags=re.DOTALL), start
            )
        if self.text[start : start + 1] in ('"', "'"):
            fail(self.text, start, "this quote is not closed")
        word = pattern.match(self.text, start)
        if word is None or (word[0].lower() in RESERVED and not OPERATOR.match(self.text, word.end())):
            self._expected(what)  # a field may be called in, as in:stock
        self.at = word.end()
        return Name(word[0], start)

    def _ends_operand(self) -> bool:
        word = WORD.match(self.text, self._skip())
        if word is not None:
            return word[0].lower() in RESERVED
        return self.at == len(self.text) or self.text[self.at] in "),"

    def _keyword(self, keyword: str) -> bool:
        word = WORD.match(self.text, self._skip())
        if word is None or word[0].lower() != keyword or OPERATOR.match(self.text, word.end()):
            return False  # a field of that name
        self.at = word.end()
        return True

    def _symbol(self, symbol: str) -> bool:
        if not self._ahead(symbol):
            return False
        self.at += len(symbol)
        return True

    def _ahead(self, symbol: str) -> bool:
        return self.text.startswith(symbol, self._skip())

    def _skip(self) -> int:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1
        return self.at

    def _expected(self, what: str) -> NoReturn:
        rest = self.text[self._skip() :]
        shown = rest.split(maxsplit=1)[0] if rest else ""
        hint = "; write it in quotes if it is meant as a name" if shown.lower() in RESERVED else ""
        fail(self.text, self.at, f"expected {what}, got {shown!r}{hint}" if shown else f"expected {what}, got the end")
