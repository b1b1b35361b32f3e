"""Dynamic int8 for ONNX: weights as uint8 with a scale per output, activations quantised as they come.

ONNX Runtime's own tool looks neither into loops nor at weights that are stored transposed, and would store the matrix
of the head, which is also the embedding table, twice; so the graph is rewritten here. In the head's loop

    relu(max_t(rows_t . W_v + b_v))    becomes    max_t(int32 of rows_t . Q_v) * scale(rows) * scale_v

since both scales are above zero, the maximum may be taken before them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from osparse.errors import CheckError
from osparse.packager.onnx import cleaned
from osparse.packager.parity import Case, Runner

MIDDLE = 128
"""Zero point of the uint8 weights: they lie evenly about zero."""
LEAST_COSINE = 0.97
"""Of a text's weights before and after; below it a quantised encoder is refused."""
LEAST_SHARED = 0.7
"""Of a text's tokens above ``FLOOR``, before and after, as intersection over union."""
FLOOR = 1e-3


def quantized(data: bytes) -> bytes:
    """The int8 version of :func:`osparse.packager.onnx.export`'s file; the same file gives the same bytes."""
    model = onnx.load_from_string(data)
    _layers(model.graph)
    _head(model)
    return cleaned(model)


def measure(runners: Mapping[str, Runner], wanted: Runner, cases: Sequence[Case]) -> dict[str, float]:
    """What quantisation loses over the cases, each figure rounded to the safe side.

    Raises :class:`CheckError` if a text keeps less than :data:`LEAST_COSINE` or :data:`LEAST_SHARED`.
    """
    cosine, shared, largest = 1.0, 1.0, 0.0
    for case in cases:
        before = wanted(case.ids, case.mask)
        for run in runners.values():
            after = run(case.ids, case.mask)
            for a, b in zip(before, after, strict=True):
                cosine, shared = min(cosine, _cosine(a, b)), min(shared, _shared(a, b))
            largest = max(largest, float(np.abs(before - after).max(initial=0)))
    if not (cosine >= LEAST_COSINE and shared >= LEAST_SHARED):
        raise CheckError(
            f"int8 changes this model too much: cosine {cosine:.3f} ({LEAST_COSINE} wanted), shared tokens "
            f"{shared:.2f} ({LEAST_SHARED} wanted), largest difference {largest:.2f}; package it without --quantize"
        )
    return {
        "cosine_above": math.floor(cosine * 200) / 200,
        "shared_tokens_above": math.floor(shared * 20) / 20,
        "largest_difference_below": _above(largest * 1.5),
    }


def _layers(graph: Any) -> None:
    """x . W^T outside the loop becomes int32 of both, times the scale of x and of each output."""
    weights = {i.name: i for i in graph.initializer}
    transposed = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "Transpose" and n.input[0] in weights}
    made: list[Any] = []
    quantised: set[str] = set()
    for node in graph.node:
        name = transposed.get(node.input[1]) if node.op_type == "MatMul" else None
        if name is None:
            made.append(node)
            continue
        x, out = node.input[0], node.output[0]
        if f"{name}.scale" not in {i.name for i in graph.initializer}:
            _store(graph, weights[name])
        if x not in quantised:
            made.append(helper.make_node("DynamicQuantizeLinear", [x], [f"{x}.int", f"{x}.scale", f"{x}.middle"]))
            quantised.add(x)
        inputs = [f"{x}.int", node.input[1], f"{x}.middle", f"{name}.middle"]
        made += [
            helper.make_node("MatMulInteger", inputs, [f"{out}.int"]),
            *_restore(f"{out}.int", f"{x}.scale", f"{name}.scale", out),
        ]
    del graph.node[:]
    graph.node.extend(made)


def _restore(found: str, rows: str, columns: str, out: str) -> list[Any]:
    """int32 -> fp32 by the scale of the rows and that of each column."""
    return [
        helper.make_node("Cast", [found], [f"{out}.float"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", [f"{out}.float", rows], [f"{out}.rows"]),
        helper.make_node("Mul", [f"{out}.rows", columns], [out]),
    ]


def _store(graph: Any, matrix: Any) -> None:
    """An initializer (N, K) in place as uint8, with ``.scale`` (N,) and ``.middle``."""
    values, scales = _per_row(numpy_helper.to_array(matrix))
    graph.initializer.extend(
        [
            numpy_helper.from_array(scales, f"{matrix.name}.scale"),
            numpy_helper.from_array(np.array(MIDDLE, np.uint8), f"{matrix.name}.middle"),
        ]
    )
    matrix.CopyFrom(numpy_helper.from_array(values, matrix.name))


def _head(model: Any) -> None:
    """Store the tied matrix once as uint8, look embeddings up in it, and multiply by it in the loop."""
    loop = next(node for node in model.graph.node if node.op_type == "Loop")
    body = loop.attribute[0].g
    product = next(node for node in body.node if node.op_type == "Gemm")
    name = product.input[1]
    _store(model.graph, next(i for i in model.graph.initializer if i.name == name))
    _embed(model.graph, name)
    _multiply(model.graph, body, product, name)


def _per_row(matrix: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """(V, H) -> uint8 about :data:`MIDDLE`, and the (V,) scale of each row."""
    scales = np.abs(matrix).max(1) / 127
    scales = np.where(scales > 0, scales, 1).astype(np.float32)
    return (np.rint(matrix / scales[:, None]) + MIDDLE).astype(np.uint8), scales


def _embed(graph: Any, name: str) -> None:
    """Look-ups in the table become look-ups of uint8 rows and their scales."""
    for node in [n for n in graph.node if n.op_type == "Gather" and n.input[0] == name]:
        ids, out = node.input[1], node.output[0]
        at = list(graph.node).index(node)
        graph.node.remove(node)
        made = [
            helper.make_node("Gather", [name, ids], [f"{out}.rows"]),
            helper.make_node("Cast", [f"{out}.rows"], [f"{out}.float"], to=onnx.TensorProto.FLOAT),
            helper.make_node("Sub", [f"{out}.float", f"{name}.middle.float"], [f"{out}.centred"]),
            helper.make_node("Gather", [f"{name}.scale", ids], [f"{out}.scale"]),
            helper.make_node("Unsqueeze", [f"{out}.scale", f"{name}.last"], [f"{out}.scales"]),
            helper.make_node("Mul", [f"{out}.centred", f"{out}.scales"], [out]),
        ]
        for step, new in enumerate(made):
            graph.node.insert(at + step, new)
        graph.initializer.extend(
            [
                numpy_helper.from_array(np.array(MIDDLE, np.float32), f"{name}.middle.float"),
                numpy_helper.from_array(np.array([-1], np.int64), f"{name}.last"),
            ]
        )


def _multiply(graph: Any, body: Any, product: Any, name: str) -> None:
    """The loop's Gemm as MatMulInteger; the scales come after the maximum."""
    rows, logits = product.input[0], product.output[0]
    graph.node.insert(0, helper.make_node("Transpose", [name], [f"{name}.columns"], perm=[1, 0]))
    largest = next(node for node in body.node if node.op_type == "ReduceMax")
    found = largest.output[0]
    largest.output[0] = f"{found}.int"
    nodes = list(body.node)
    quantise = [
        helper.make_node("DynamicQuantizeLinear", [rows], ["rows.int", "rows.scale", "rows.middle"]),
        helper.make_node("MatMulInteger", ["rows.int", f"{name}.columns", "rows.middle", f"{name}.middle"], [logits]),
    ]
    restore = _restore(f"{found}.int", "rows.scale", f"{name}.scale", found)
    at, after = nodes.index(product), nodes.index(largest) + 1
    del body.node[:]
    body.node.extend([*nodes[:at], *quantise, *nodes[at + 1 : after], *restore, *nodes[after:]])


def _cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / size if size else float(a.any() == b.any())


def _shared(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    either = int(((a > FLOOR) | (b > FLOOR)).sum())
    return int(((a > FLOOR) & (b > FLOOR)).sum()) / either if either else 1.0


def _above(value: float) -> float:
    """The next number of one digit: figures differ a little from machine to machine, the manifest must not."""
    step = 10.0 ** math.floor(math.log10(value)) if value > 0 else 1.0
    return round(math.ceil(value / step) * step, 6)
