"""The layers of an ONNX encoder: every x . W^T before the head's loop, in another precision.

ONNX Runtime's own tool looks neither into loops nor at weights that are stored transposed, and would store the matrix
of the head, which is also the embedding table, twice; so the graph is rewritten here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import helper

from osparse.encoders.onnx_session import INPUTS
from osparse.packager.quantize.calibration import Range, add_range
from osparse.packager.quantize.choice import Precision
from osparse.packager.quantize.weights import MIDDLE_OF, add, halve, look_up, restore, store

LEXICAL = "encoder.lexical."
"""Prefix of the lexical table's tensors, which are looked up exactly in every precision."""


def matrices(graph: Any) -> dict[str, str]:
    """Output of each Transpose of an initializer -> the initializer (N, K)."""
    weights = {tensor.name for tensor in graph.initializer}
    return {n.output[0]: n.input[0] for n in graph.node if n.op_type == "Transpose" and n.input[0] in weights}


def word_table(graph: Any) -> str | None:
    """The initializer that the ids are looked up in."""
    weights = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Gather" and node.input[1] == INPUTS[0] and node.input[0] in weights:
            if not node.input[0].startswith(LEXICAL):
                return str(node.input[0])
    return None


def products(graph: Any) -> list[tuple[Any, str]]:
    """(MatMul node, initializer) of each x . W^T outside the head's loop."""
    transposed = matrices(graph)
    return [(n, transposed[n.input[1]]) for n in graph.node if n.op_type == "MatMul" and n.input[1] in transposed]


def quantize_layers(graph: Any, precision: Precision, head: str, ranges: Mapping[str, Range]) -> None:
    """Rewrite the layers; ``head`` names the head's matrix, ``ranges`` the range of each product's input, if static."""
    table = word_table(graph)
    own_table = table if table != head else None
    if precision == "fp16":
        for name in dict.fromkeys([*(name for _, name in products(graph)), *([own_table] if own_table else [])]):
            halve(graph, name)
    elif precision != "fp32":
        _multiply(graph, precision, ranges)
        if own_table:
            store(graph, own_table, precision)
            look_up(graph, own_table)


def _multiply(graph: Any, precision: Precision, ranges: Mapping[str, Range]) -> None:
    """x . W^T becomes int32 of both, times the scale of each row of x, or of all of x, and of each output."""
    matrix_of = {node.output[0]: name for node, name in products(graph)}
    made: list[Any] = []
    stored: dict[str, Any] = {}
    quantised: set[str] = set()
    for node in list(graph.node):
        name = matrix_of.get(node.output[0])
        if name is None:
            made.append(node)
            continue
        x, out = node.input[0], node.output[0]
        if name not in stored:
            stored[name] = store(graph, name, precision)
        if x not in quantised:
            made += _of_calibrated(graph, x, ranges[x]) if precision == "int8-static" else _by_row(x)
            quantised.add(x)
        middle = f"{x}.zero" if precision == "int8-static" else MIDDLE_OF
        made.append(helper.make_node("MatMulInteger", [f"{x}.int", node.input[1], middle, MIDDLE_OF], [f"{out}.int"]))
        if precision == "int8-static":
            both = add(graph, f"{out}.both", (stored[name] * ranges[x].scale).astype(np.float32))
            made += [
                helper.make_node("Cast", [f"{out}.int"], [f"{out}.float"], to=onnx.TensorProto.FLOAT),
                helper.make_node("Mul", [f"{out}.float", both], [out]),
            ]
        else:
            made += restore(f"{out}.int", f"{x}.scale", f"{name}.scale", out)
    del graph.node[:]
    graph.node.extend(made)


def _of_calibrated(graph: Any, x: str, given: Range) -> list[Any]:
    """x -> ``.int`` uint8 with the scale and zero point of the range that it had on the calibration texts."""
    scale, zero = add_range(graph, x, given)
    return [helper.make_node("QuantizeLinear", [x, scale, zero], [f"{x}.int"])]


def _by_row(x: str) -> list[Any]:
    """x (.., H) -> ``.int`` uint8 about the middle and ``.scale`` (.., 1): a row's scale is its own."""
    return [
        helper.make_node("Abs", [x], [f"{x}.abs"]),
        helper.make_node("ReduceMax", [f"{x}.abs"], [f"{x}.max"], axes=[-1], keepdims=1),
        helper.make_node("Max", [f"{x}.max", "int8.least"], [f"{x}.some"]),
        helper.make_node("Div", [f"{x}.some", "int8.steps"], [f"{x}.scale"]),
        helper.make_node("Div", [x, f"{x}.scale"], [f"{x}.stepped"]),
        helper.make_node("Round", [f"{x}.stepped"], [f"{x}.round"]),
        helper.make_node("Add", [f"{x}.round", "int8.middle.float"], [f"{x}.shifted"]),
        helper.make_node("Cast", [f"{x}.shifted"], [f"{x}.int"], to=onnx.TensorProto.UINT8),
    ]
