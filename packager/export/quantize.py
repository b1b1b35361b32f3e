"""Dynamic int8 for ONNX: weights as uint8 with a scale per output, activations as they come with a scale per token.

ONNX Runtime's own tool looks neither into loops nor at weights that are stored transposed, and would store the matrix
of the head, which is also the embedding table, twice; so the graph is rewritten here. In the head's loop

    relu(max_t(rows_t . W_v) + b_v)    becomes    relu(max_t(int32 of rows_t . Q_v) * scale(rows) * scale_v + b_v)

since both scales are above zero, the maximum may be taken before them; there the rows of a chunk share a scale.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from osparse.encoders import similarity
from osparse.encoders.similarity import LEAST_COSINE, LEAST_SHARED
from osparse.errors import CheckError
from osparse.packager.compare.parity import Case, Runner
from osparse.packager.export.onnx import cleaned

MIDDLE = 128
"""Zero point of the uint8 weights and rows: they lie evenly about zero."""
MIDDLE_OF = "int8.middle"
"""Its name in the graph."""


def quantized(data: bytes) -> bytes:
    """The int8 version of :func:`osparse.packager.export.onnx.export`'s file; the same file gives the same bytes."""
    model = onnx.load_from_string(data)
    constants: dict[str, NDArray[Any]] = {
        MIDDLE_OF: np.array(MIDDLE, np.uint8),
        "int8.middle.float": np.array(MIDDLE, np.float32),
        "int8.steps": np.array(127, np.float32),
        "int8.least": np.array(1e-9, np.float32),
        "int8.last": np.array([-1], np.int64),
    }
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
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
                cosine, shared = min(cosine, similarity.cosine(a, b)), min(shared, similarity.shared_tokens(a, b))
            largest = max(largest, float(np.abs(before - after).max(initial=0)))
    if not (cosine >= LEAST_COSINE and shared >= LEAST_SHARED):
        raise CheckError(
            "int8 changes this model too much. Of the text that it changes most, the weights before and after have a "
            f"cosine {cosine:.3f} (1 is the same direction; at least {LEAST_COSINE} is required), and of the tokens "
            f"that either has, both have {shared:.2f} (at least {LEAST_SHARED} is required); a weight changes by up to "
            f"{largest:.2f}. Package it without `quantize`: the encoder is then larger and gives the model's weights"
        )
    return {
        "cosine_above": math.floor(cosine * 200) / 200,
        "shared_tokens_above": math.floor(shared * 20) / 20,
        "largest_difference_below": _above(largest * 1.5),
    }


def _layers(graph: Any) -> None:
    """x . W^T outside the loop becomes int32 of both, times the scale of each row of x and of each output."""
    weights = {i.name: i for i in graph.initializer}
    transposed = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "Transpose" and n.input[0] in weights}
    made: list[Any] = []
    stored: set[str] = set()
    quantised: set[str] = set()
    for node in graph.node:
        name = transposed.get(node.input[1]) if node.op_type == "MatMul" else None
        if name is None:
            made.append(node)
            continue
        x, out = node.input[0], node.output[0]
        if name not in stored:
            _store(graph, weights[name])
            stored.add(name)
        if x not in quantised:
            made += _by_row(x)
            quantised.add(x)
        inputs = [f"{x}.int", node.input[1], MIDDLE_OF, MIDDLE_OF]
        made += [
            helper.make_node("MatMulInteger", inputs, [f"{out}.int"]),
            *_restore(f"{out}.int", f"{x}.scale", f"{name}.scale", out),
        ]
    del graph.node[:]
    graph.node.extend(made)


def _by_row(x: str) -> list[Any]:
    """x (.., H) -> ``.int`` uint8 about :data:`MIDDLE` and ``.scale`` (.., 1): a row's scale is its own."""
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


def _restore(integers: str, rows: str, columns: str, out: str) -> list[Any]:
    """int32 -> fp32 by the scale of the rows and that of each column."""
    return [
        helper.make_node("Cast", [integers], [f"{out}.float"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", [f"{out}.float", rows], [f"{out}.rows"]),
        helper.make_node("Mul", [f"{out}.rows", columns], [out]),
    ]


def _store(graph: Any, matrix: Any) -> None:
    """An initializer (N, K) in place as uint8, with ``.scale`` (N,)."""
    values, scales = _per_row(numpy_helper.to_array(matrix))
    graph.initializer.append(numpy_helper.from_array(scales, f"{matrix.name}.scale"))
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
            helper.make_node("Sub", [f"{out}.float", "int8.middle.float"], [f"{out}.centred"]),
            helper.make_node("Gather", [f"{name}.scale", ids], [f"{out}.scale"]),
            helper.make_node("Unsqueeze", [f"{out}.scale", "int8.last"], [f"{out}.scales"]),
            helper.make_node("Mul", [f"{out}.centred", f"{out}.scales"], [out]),
        ]
        for step, new in enumerate(made):
            graph.node.insert(at + step, new)


def _multiply(graph: Any, body: Any, product: Any, name: str) -> None:
    """The loop's Gemm as MatMulInteger; the scales come after the maximum."""
    rows, logits = product.input[0], product.output[0]
    graph.node.insert(0, helper.make_node("Transpose", [name], [f"{name}.columns"], perm=[1, 0]))
    largest = next(node for node in body.node if node.op_type == "ReduceMax")
    maximum = largest.output[0]
    largest.output[0] = f"{maximum}.int"
    nodes = list(body.node)
    quantise = [
        helper.make_node("DynamicQuantizeLinear", [rows], ["rows.int", "rows.scale", "rows.middle"]),
        helper.make_node("MatMulInteger", ["rows.int", f"{name}.columns", "rows.middle", MIDDLE_OF], [logits]),
    ]
    restore = _restore(f"{maximum}.int", "rows.scale", f"{name}.scale", maximum)
    at, after = nodes.index(product), nodes.index(largest) + 1
    del body.node[:]
    body.node.extend([*nodes[:at], *quantise, *nodes[at + 1 : after], *restore, *nodes[after:]])


def _above(value: float) -> float:
    """The next number of one digit: figures differ a little from machine to machine, the manifest must not."""
    step = 10.0 ** math.floor(math.log10(value)) if value > 0 else 1.0
    return round(math.ceil(value / step) * step, 6)
