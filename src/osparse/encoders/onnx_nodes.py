"""Which operators an ONNX file uses, read from its bytes: the base install has ONNX Runtime but not the onnx package.

An ONNX file is a protocol buffer (onnx.proto of github.com/onnx/onnx). Only the fields that lead to a node's operator
are followed; weights are stepped over.
"""

from __future__ import annotations

from collections.abc import Iterator

INTEGER = frozenset(
    ("MatMulInteger", "ConvInteger", "DynamicQuantizeLinear", "DynamicQuantizeMatMul", "MatMulIntegerToFloat")
)
"""Operators that compute with int8 and scales found while running."""
_MODEL, _GRAPH, _NODE, _ATTRIBUTE, _FUNCTION = range(5)
_INSIDE = {
    (_MODEL, 7): _GRAPH,
    (_MODEL, 25): _FUNCTION,
    (_GRAPH, 1): _NODE,
    (_NODE, 5): _ATTRIBUTE,
    (_ATTRIBUTE, 6): _GRAPH,
    (_ATTRIBUTE, 11): _GRAPH,
    (_FUNCTION, 7): _NODE,
}
"""(message, number of its field) -> the message that the field holds."""
_OPERATOR = (_NODE, 4)
_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5


def operators(model: bytes) -> set[str]:
    """Names of all operators of a model.onnx, those of loops, branches and functions included.

    Raises :class:`ValueError` for bytes that are no protocol buffer.
    """
    names: set[str] = set()
    waiting = [(_MODEL, memoryview(model))]
    while waiting:
        message, data = waiting.pop()
        for number, content in fields(data):
            if (message, number) == _OPERATOR:
                names.add(bytes(content).decode())
            elif (message, number) in _INSIDE:
                waiting.append((_INSIDE[message, number], content))
    return names


def fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """(number, content) of each field of a message that holds bytes, a text or another message."""
    return ((number, content) for number, _, content in spans(data) if content is not None)


def spans(data: memoryview) -> Iterator[tuple[int, memoryview, memoryview | None]]:
    """(number, its bytes, content) of every field of a message; the content is None where the field holds a number."""
    at = 0
    while at < len(data):
        start, content = at, None
        key, at = _varint(data, at)
        kind = key & 7
        if kind == _VARINT:
            _, at = _varint(data, at)
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            at += 8 if kind == _EIGHT_BYTES else 4
        elif kind == _BYTES:
            size, at = _varint(data, at)
            if at + size > len(data):
                raise ValueError(f"a field of {size:,} bytes goes past the end of its message")
            content = data[at : at + size]
            at += size
        else:
            raise ValueError(f"field type {kind} is not one of ONNX")
        yield key >> 3, data[start:at], content


def field(number: int, content: bytes) -> bytes:
    """A field of bytes: key, length, content."""
    return varint(number << 3 | _BYTES) + varint(len(content)) + content


def varint(value: int) -> bytes:
    """A number of seven bits per byte, the low ones first."""
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """A number of seven bits per byte, the low ones first, and where it ends."""
    value = shift = 0
    while at < len(data):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("a number goes past the end of its message")
