"""What types the fields of documents have, by looking at many values of each: the mapping that an index should have.

A type is inferred only where every value seen agrees: whole numbers are ``long``, with others ``double``; ISO dates are
``date``; texts are ``keyword`` while they are short, else ``text``; what is mixed is ``keyword``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import Any

from osparse.errors import InputError
from osparse.rows.read_rows import ReadRow

ROWS, CHARACTERS = 1_000, 1 << 22
"""How far a load looks ahead, whichever comes first."""
SHORT, WORDS = 256, 8
"""Characters and words of the longest value of a ``keyword`` field."""
FIELDS = "properties"
"""Under which the mapping of an object has its fields."""
LONGEST_KEYWORD = 8_191
"""Characters; the server takes 32,766 bytes."""
_WHOLE = re.compile(r"-?(?:0|[1-9]\d{0,18})")
_DIGITS = re.compile(r"-?\d+")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?")
_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[-+]\d\d:?\d\d)?)?")
_DATE_WITH_SPACE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d(?::\d\d(?:\.\d{3})?)?")
_SPACED = "||".join(
    ("strict_date_optional_time", "yyyy-MM-dd HH:mm:ss", "yyyy-MM-dd HH:mm", "yyyy-MM-dd HH:mm:ss.SSS", "epoch_millis")
)
_LIMIT = 2**63


@dataclass
class Values:
    """What was seen of one field."""

    kinds: set[str] = field(default_factory=set)
    longest: int = 0
    words: int = 0
    below: dict[str, Values] = field(default_factory=dict)
    """Of an object: its fields."""

    def see(self, value: Any, *, typed: bool) -> None:
        """Take one more value into account; ``typed`` is False where numbers, too, are written as text."""
        if value is None:
            return
        if isinstance(value, Mapping):
            for name, one in value.items():
                self.at(str(name).split(".")).see(one, typed=typed)
        elif isinstance(value, (list, tuple)):
            for one in value:
                self.see(one, typed=typed)
        else:
            self._see_one(value, typed)

    def at(self, path: list[str]) -> Values:
        """What is known of the field below this one; a name with dots is a path."""
        values = self
        for name in path:
            values = values.below.setdefault(name, Values())
        return values

    def _see_one(self, value: Any, typed: bool) -> None:
        self.kinds.add(_kind_of_text(value, typed) if isinstance(value, str) else _kind(value))
        if isinstance(value, str):
            self.longest = max(self.longest, len(value))
            self.words = max(self.words, len(value.split()))

    def mapping(self) -> dict[str, Any] | None:
        """The field's mapping; None where no value was seen."""
        if self.kinds:
            return self._of_values()
        fields = self.fields()
        return {FIELDS: fields} if fields else None

    def fields(self) -> dict[str, Any]:
        """Field -> mapping, of an object's fields or of all that was seen."""
        return {name: body for name, values in self.below.items() if (body := values.mapping()) is not None}

    def _of_values(self) -> dict[str, Any]:
        kinds = self.kinds
        if kinds == {"long"}:
            return {"type": "long", "coerce": False}  # a fraction is refused, not cut off without a word
        if kinds <= {"long", "double"}:
            return {"type": "double"}
        if kinds <= {"date", "date with space"}:
            return {"type": "date", **({"format": _SPACED} if "date with space" in kinds else {})}
        if kinds == {"boolean"}:
            return {"type": "boolean"}
        if self.longest > SHORT or self.words > WORDS:
            return {"type": "text"}
        analysed = {"fields": {"text": {"type": "text"}}} if self.words > 1 else {}
        return {"type": "keyword", "ignore_above": LONGEST_KEYWORD, **analysed}


def look_ahead(rows: Iterable[ReadRow]) -> tuple[list[ReadRow], Iterator[ReadRow]]:
    """The first :data:`ROWS` rows or :data:`CHARACTERS` characters of text, and all rows, from the first.

    A row that cannot be read is an error in its turn, not here.
    """
    iterator, seen, size = iter(rows), list[ReadRow](), 0
    try:
        for row in iterator:
            seen.append(row)
            size += sum(len(value) for value in row.row.values() if isinstance(value, str))
            if len(seen) >= ROWS or size >= CHARACTERS:
                break
    except InputError as problem:
        return seen, chain(seen, _raising(problem))
    return seen, chain(seen, iterator)


def _raising(problem: InputError) -> Iterator[ReadRow]:
    raise problem
    yield  # what makes this an iterator


def converted(value: Any, kind: str) -> Any:
    """A cell of a table without types as the index's type has it; as it is where it does not fit that type."""
    if not isinstance(value, str):
        return value
    if kind == "boolean" and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if kind in ("long", "integer", "short", "byte", "unsigned_long") and _WHOLE.fullmatch(value):
        return int(value)
    if kind in ("double", "float", "half_float", "scaled_float") and _NUMBER.fullmatch(value):
        return float(value)
    return value


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "long" if -_LIMIT <= value < _LIMIT else "keyword"
    return "double" if isinstance(value, float) else "keyword"


def _kind_of_text(value: str, typed: bool) -> str:
    if _is_date(value):
        return "date with space" if " " in value else "date"
    if typed:
        return "keyword"
    if value.lower() in ("true", "false"):
        return "boolean"
    if _WHOLE.fullmatch(value):
        return _kind(int(value))
    return "double" if _NUMBER.fullmatch(value) and not _DIGITS.fullmatch(value) else "keyword"


def _is_date(value: str) -> bool:
    if not (_DATE.fullmatch(value) or _DATE_WITH_SPACE.fullmatch(value)):
        return False
    try:
        datetime.fromisoformat(value[:10] if "." in value else value)
    except ValueError:
        return False
    return True
