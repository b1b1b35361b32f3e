"""Matrices of a graph in place: fp32 numbers become uint8 with scales, or fp16 that is cast back."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from osparse.packager.quantize.choice import Precision

MIDDLE = 128
"""Zero point of the uint8 weights and rows: they lie evenly about zero."""
MIDDLE_OF = "int8.middle"
"""Its name in the graph."""
CONSTANTS: dict[str, NDArray[Any]] = {
    MIDDLE_OF: np.array(MIDDLE, np.uint8),
    "int8.middle.float": np.array(MIDDLE, np.float32),
    "int8.steps": np.array(127, np.float32),
    "int8.least": np.array(1e-9, np.float32),
    "int8.last": np.array([-1], np.int64),
}
"""Numbers that the rewritten graphs need, by name."""


def initializer(graph: Any, name: str) -> Any:
    return next(tensor for tensor in graph.initializer if tensor.name == name)


def add(graph: Any, name: str, value: NDArray[Any]) -> str:
    """One more initializer; returns its name."""
    graph.initializer.append(numpy_helper.from_array(value, name))
    return name


def store(graph: Any, name: str, precision: Precision) -> NDArray[np.float32]:
    """An initializer (N, K) in place as uint8, with ``.scale`` (N,), which is returned."""
    matrix = initializer(graph, name)
    values, scales = quantised(numpy_helper.to_array(matrix), per_row=precision != "int8-tensor")
    add(graph, f"{name}.scale", scales)
    matrix.CopyFrom(numpy_helper.from_array(values, name))
    return scales


def quantised(matrix: NDArray[np.float32], *, per_row: bool) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """(V, H) -> uint8 about :data:`MIDDLE`, and the (V,) scale of each row: its own, or that of the whole matrix."""
    largest = np.abs(matrix).max(1)
    scales = (largest if per_row else np.full_like(largest, largest.max(initial=0))) / 127
    scales = np.where(scales > 0, scales, 1).astype(np.float32)
    return (np.rint(matrix / scales[:, None]) + MIDDLE).astype(np.uint8), scales


def halve(graph: Any, name: str) -> None:
    """An initializer in fp16, cast to fp32 before its uses; ONNX Runtime casts it once, when it loads the model.

    Numbers beyond fp16's range become its largest.
    """
    matrix = initializer(graph, name)
    limit = float(np.finfo(np.float16).max)
    values = np.clip(numpy_helper.to_array(matrix), -limit, limit).astype(np.float16)
    matrix.CopyFrom(numpy_helper.from_array(values, f"{name}.half"))
    graph.node.insert(0, helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT))


def restore(integers: str, rows: str, columns: str, out: str) -> list[Any]:
    """int32 -> fp32 by the scale of the rows and that of each column."""
    return [
        helper.make_node("Cast", [integers], [f"{out}.float"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", [f"{out}.float", rows], [f"{out}.rows"]),
        helper.make_node("Mul", [f"{out}.rows", columns], [out]),
    ]


def look_up(graph: Any, name: str) -> None:
    """Look-ups in a table that :func:`store` stored become look-ups of uint8 rows and their scales."""
    for node in [n for n in graph.node if n.op_type == "Gather" and n.input[0] == name]:
        ids, out = node.input[1], node.output[0]
        at = list(graph.node).index(node)
        graph.node.remove(node)
        made = [
            helper.make_node("Gather", [name, ids], [f"{out}.rows"]),
            helper.make_node("Cast", [f"{out}.rows"], [f"{out}.float"], to=onnx.TensorProto.FLOAT),
            helper.make_node("Sub", [f"{out}.float", "int8.middle.float"], [f"{out}.centred"]),
            helper.make_node("Gather", [f"{name}.scale", ids], [f"{out}.scale"]),
            helper.make_node("Unsqueeze", [f"{out}.scale", "int8.last"], [f"{out}.scales"]),
            helper.make_node("Mul", [f"{out}.centred", f"{out}.scales"], [out]),
        ]
        for step, new in enumerate(made):
            graph.node.insert(at + step, new)
