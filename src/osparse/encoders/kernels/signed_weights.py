"""An int8 bundle's graph with its weights as int8 in place of uint8: the same numbers, multiplied faster.

``osparse package --quantize`` writes weights as uint8 about 128: every processor multiplies these exactly, while for
uint8 x int8 one without VNNI may cut sums off at 16 bits. One with VNNI does not, and there ONNX Runtime's product of
uint8 x int8 is 2.5 times as fast as that of uint8 x uint8 (``docs/speed.md``). w - 128 as an int8 with the zero
point 0 is w as a uint8 with the zero point 128, so every sum, and every weight of a document, is the same to the bit.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from osparse.encoders.onnx_nodes import field, spans, varint
from osparse.io.files import read_text

CPU = Path("/proc/cpuinfo")
UNSIGNED_ZERO, UNSIGNED_CENTRE = "int8.middle", "int8.middle.float"
"""Initializers of the packaged graphs: 128, the zero point of products and what look-ups subtract."""
SIGNED_ZERO, SIGNED_CENTRE = "int8.signed", "int8.signed.float"
_GRAPH, _NODE, _INITIALIZER, _ATTRIBUTE, _SUBGRAPH = 7, 1, 5, 5, 6
_INPUT, _OPERATOR = 1, 4
_DIMENSIONS, _TYPE, _NAME, _RAW = 1, 2, 8, 9
_FLOAT, _UINT8, _INT8 = 1, 2, 3


def has_vnni() -> bool:
    """Whether Linux says that the processor has VNNI."""
    if not CPU.exists():
        return False
    flags = next((line for line in read_text(CPU).splitlines() if line.startswith("flags")), "")
    return not {"avx512_vnni", "avx_vnni"}.isdisjoint(flags.split())


def signed(model: bytes) -> bytes:
    """The bytes of a model.onnx with int8 weights; unchanged if ``osparse package --quantize`` did not write it."""
    if field(_NAME, UNSIGNED_ZERO.encode()) not in model:
        return model
    return b"".join(
        bytes(whole) if number != _GRAPH or content is None else field(_GRAPH, _with_zeros(_graph(content)))
        for number, whole, content in spans(memoryview(model))
    )


def _with_zeros(graph: bytes) -> bytes:
    zero, centre = _scalar(SIGNED_ZERO, _INT8, b"\0"), _scalar(SIGNED_CENTRE, _FLOAT, bytes(4))
    return graph + field(_INITIALIZER, zero) + field(_INITIALIZER, centre)


def _scalar(name: str, kind: int, raw: bytes) -> bytes:
    return _number(_TYPE, kind) + field(_NAME, name.encode()) + field(_RAW, raw)


def _number(field_number: int, value: int) -> bytes:
    return varint(field_number << 3) + varint(value)


def _graph(data: memoryview) -> bytes:
    names = {_name(content) for number, _, content in spans(data) if number == _INITIALIZER and content}
    parts = []
    for number, whole, content in spans(data):
        if number == _NODE and content is not None:
            parts.append(field(_NODE, _node(content)))
        elif number == _INITIALIZER and content and _name(content) + ".scale" in names:
            parts.append(field(_INITIALIZER, _tensor(content)))
        else:
            parts.append(bytes(whole))
    return b"".join(parts)


_RENAMED = {b"MatMulInteger": (3, UNSIGNED_ZERO, SIGNED_ZERO), b"Sub": (1, UNSIGNED_CENTRE, SIGNED_CENTRE)}
"""Operator -> which of its inputs, the name of that input, its new name."""


def _node(data: memoryview) -> bytes:
    operator = b"".join(bytes(content) for number, _, content in spans(data) if number == _OPERATOR and content)
    place, before, after = _RENAMED.get(operator, (-1, "", ""))
    parts, inputs = [], 0
    for number, whole, content in spans(data):
        if number == _INPUT and content is not None:
            is_meant = inputs == place and bytes(content) == before.encode()
            parts.append(field(_INPUT, after.encode()) if is_meant else bytes(whole))
            inputs += 1
        elif number == _ATTRIBUTE and content is not None:
            parts.append(field(_ATTRIBUTE, _attribute(content)))
        else:
            parts.append(bytes(whole))
    return b"".join(parts)


def _attribute(data: memoryview) -> bytes:
    return b"".join(
        bytes(whole) if number != _SUBGRAPH or content is None else field(_SUBGRAPH, _graph(content))
        for number, whole, content in spans(data)
    )


def _name(tensor: memoryview) -> str:
    return "".join(str(content, "utf-8") for number, _, content in spans(tensor) if number == _NAME and content)


def _tensor(data: memoryview) -> bytes:
    """A uint8 matrix as int8, less 128; other tensors unchanged."""
    numbers = [(number, bytes(whole)) for number, whole, content in spans(data) if content is None]
    matrix = sum(number == _DIMENSIONS for number, _ in numbers) == 2
    if not matrix or (_TYPE, _number(_TYPE, _UINT8)) not in numbers:
        return bytes(data)
    return b"".join(
        field(_RAW, (np.frombuffer(content, np.uint8) ^ 0x80).tobytes())
        if number == _RAW and content is not None
        else _number(_TYPE, _INT8)
        if number == _TYPE
        else bytes(whole)
        for number, whole, content in spans(data)
    )
