"""The head of an ONNX encoder in another precision: the product with the vocabulary in the loop.

    relu(max_t(rows_t . W_v) + b_v)    becomes    relu(max_t(int32 of rows_t . Q_v) * scale(rows) * scale_v + b_v)

since both scales are above zero, the maximum may be taken before them; there the rows of a chunk share a scale.
"""

from __future__ import annotations

from typing import Any

from onnx import helper

from osparse.packager.quantize.calibration import Range, add_range
from osparse.packager.quantize.choice import Precision
from osparse.packager.quantize.weights import MIDDLE_OF, halve, look_up, restore, store


def loop_body(graph: Any) -> Any:
    """The subgraph of the head's loop."""
    return next(node for node in graph.node if node.op_type == "Loop").attribute[0].g


def head_product(graph: Any) -> Any:
    """The Gemm of the head; its second input is the matrix."""
    return next(node for node in loop_body(graph).node if node.op_type == "Gemm")


def head_rows(graph: Any) -> str:
    """The tensor outside the loop that the rows of each turn are sliced from."""
    sliced = head_product(graph).input[0]
    return str(next(node.input[0] for node in loop_body(graph).node if sliced in node.output))


def quantize_head(graph: Any, precision: Precision, given: Range | None) -> None:
    """Rewrite the head and embeddings that share its matrix; ``given`` is the range of the rows, if static."""
    name = str(head_product(graph).input[1])
    if precision == "fp16":
        halve(graph, name)
    elif precision != "fp32":
        store(graph, name, precision)
        look_up(graph, name)
        _multiply(graph, name, given)


def _multiply(graph: Any, name: str, given: Range | None) -> None:
    """The loop's Gemm as MatMulInteger; the scales come after the maximum."""
    body, product = loop_body(graph), head_product(graph)
    rows, logits = product.input[0], product.output[0]
    graph.node.insert(0, helper.make_node("Transpose", [name], [f"{name}.columns"], perm=[1, 0]))
    largest = next(node for node in body.node if node.op_type == "ReduceMax")
    maximum = largest.output[0]
    largest.output[0] = f"{maximum}.int"
    nodes = list(body.node)
    if given is None:
        scale, middle = "rows.scale", "rows.middle"
        made = [helper.make_node("DynamicQuantizeLinear", [rows], ["rows.int", scale, middle])]
    else:
        scale, middle = add_range(graph, "rows", given)
        made = [helper.make_node("QuantizeLinear", [rows, scale, middle], ["rows.int"])]
    made.append(helper.make_node("MatMulInteger", ["rows.int", f"{name}.columns", middle, MIDDLE_OF], [logits]))
    after_maximum = restore(f"{maximum}.int", scale, f"{name}.scale", maximum)
    at, after = nodes.index(product), nodes.index(largest) + 1
    del body.node[:]
    body.node.extend([*nodes[:at], *made, *nodes[at + 1 : after], *after_maximum, *nodes[after:]])
