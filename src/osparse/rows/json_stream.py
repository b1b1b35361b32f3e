"""A JSON file with one large array in it, item by item: what is in memory is one item and a buffer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from osparse.errors import DatasetError
from osparse.io.streams import FETCH_AGAIN, decoded, opened, shown

CHUNK = 1 << 20
MAX_ITEM = 512 * 2**20
"""Characters. An item that has not ended by then is no row."""
_SPACE = " \t\r\n"


class _Text:
    """The file's text as a sliding window; ``at`` is the next character."""

    def __init__(self, name: str, read: Any, chunk: int) -> None:
        self.name, self._read, self._chunk = name, read, chunk
        self.text, self.at = "", 0
        self._line, self._counted = 1, 0
        self._rest = b""
        self._more()

    def _more(self, size: int | None = None) -> bool:
        """Read on; what lies before ``at`` goes. False at the end of the file."""
        new = self._read(self._chunk if size is None else size)
        raw = self._rest + new
        if not raw:
            return False
        # a character may be cut at the end of what was read: it waits for the rest, unless there is none
        cut = next((len(raw) - n for n in range(1, min(4, len(raw)) + 1) if raw[-n] >= 0xC0), len(raw))
        cut = cut if new else len(raw)
        where = self.where()
        self._rest = raw[cut:]
        self.text, self.at, self._counted = self.text[self.at :] + decoded(raw[:cut], where), 0, 0
        return True

    def where(self) -> str:
        self._line += self.text.count("\n", self._counted, self.at)
        self._counted = self.at
        return f"{self.name}:{self._line}"

    def peek(self) -> str:
        """The next character that is no space; "" at the end."""
        while True:
            while self.at < len(self.text):
                if self.text[self.at] not in _SPACE:
                    return self.text[self.at]
                self.at += 1
            if not self._more():
                return ""

    def take(self, expected: str) -> None:
        character = self.peek()
        if character not in expected or not character:
            what = repr(character) if character else "the end of the file"
            raise DatasetError(
                f"{self.where()}: not the expected JSON: {what} where {expected!r} should be; {FETCH_AGAIN}"
            )
        self.at += 1

    def value(self) -> Any:
        """Parse one value; the window grows until it is whole."""
        self.peek()
        decoder, size = json.JSONDecoder(), self._chunk
        while True:
            try:
                found, end = decoder.raw_decode(self.text, self.at)
                if end < len(self.text) or not self._more():  # a number at the end of the window may go on
                    self.at = end
                    return found
            except RecursionError:
                raise DatasetError(f"{self.where()}: not JSON: nested too deep") from None
            except ValueError as problem:
                if len(self.text) - self.at > MAX_ITEM or not self._more(size):
                    raise DatasetError(f"{self.where()}: not JSON: {problem}; {FETCH_AGAIN}") from None
                size *= 2


def json_items(path: Path, key: str = "", *, chunk: int = CHUNK) -> Iterator[tuple[str, dict[str, Any]]]:
    """(``path:line``, item) of a top-level array of objects, or of the array under ``key`` of a top-level object.

    Args:
        chunk: Bytes read at once.

    Raises:
        DatasetError: with the line: no JSON, no such array, an item that is no object, a file that ends early.
    """
    with opened(path) as file:
        yield from items_of(file, shown(path), key, chunk=chunk)


def items_of(file: BinaryIO, name: str, key: str = "", *, chunk: int = CHUNK) -> Iterator[tuple[str, dict[str, Any]]]:
    """:func:`json_items` of a file that is open; ``name`` is what messages call it."""
    text = _Text(name, file.read, chunk)
    if key:
        yield from _under(text, key)
    else:
        yield from _array(text)
    if text.peek():
        raise DatasetError(f"{text.where()}: more text after the JSON value; {FETCH_AGAIN}")


def _under(text: _Text, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    text.take("{")
    seen = False
    while text.peek() == '"':
        name = text.value()
        text.take(":")
        if name == key:
            seen = True
            yield from _array(text)
        else:
            text.value()
        if text.peek() != ",":
            break
        text.take(",")
    text.take("}")
    if not seen:
        raise DatasetError(f"{text.name}: it has no {key!r}; it must be an object with an array of that name")


def _array(text: _Text) -> Iterator[tuple[str, dict[str, Any]]]:
    text.take("[")
    while text.peek() != "]":
        where = text.where()
        item = text.value()
        if not isinstance(item, dict):
            raise DatasetError(f"{where}: expected a JSON object, found {type(item).__name__}")
        yield where, item
        if text.peek() != "]":
            text.take(",")
    text.take("]")
