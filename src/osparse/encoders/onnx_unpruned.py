"""A bundle's ONNX encoder with the weights before pruning: the tensor that its last operators prune, made an output.

osparse's graphs end in products of the weights with masks, ``w * (w > ratio * max(w))`` and ``w * (w >= k-th
largest)``; where own tokens are kept, ``where(own, inf, w)`` is compared. The tensor before them is followed back from
the output, and declared an output of the graph by appending to the file: a protocol buffer whose message is given
twice is read as both merged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from osparse.contracts.zip_members import read_member
from osparse.encoders.onnx_encoder import read_tokenizer
from osparse.encoders.onnx_nodes import field, fields
from osparse.encoders.onnx_session import INPUTS, open_session

OUTPUT = "output"
"""Of the packaged graphs."""
_GRAPH, _NODE, _GRAPH_OUTPUT, _NAME = 7, 1, 12, 1
_INPUT, _NODE_OUTPUT, _OPERATOR = 1, 2, 4


@dataclass(frozen=True)
class _Node:
    operator: str
    inputs: list[str]


class UnprunedEncoder:
    """One text -> (V,) weights before pruning."""

    def __init__(self, archive: Path) -> None:
        """``archive``: an encoder.onnx.zip. Raises :class:`BundleError` if it is unsafe, broken or not an encoder."""
        self.tokenizer: Tokenizer
        self.tokenizer, self.tokens, _ = read_tokenizer(archive)
        model = read_member(archive, "model.onnx")
        self._output = unpruned_output(model)
        self._session = open_session(with_output(model, self._output), str(archive))

    def encode(self, text: str) -> NDArray[np.float32]:
        ids = np.array([self.tokenizer.encode(text).ids], dtype=np.int64)
        inputs = dict(zip(INPUTS, (ids, np.ones_like(ids)), strict=True))
        weights: NDArray[np.float32] = self._session.run([self._output], inputs)[0]
        return weights[0, : len(self.tokens)]


def unpruned_output(model: bytes) -> str:
    """The name of the tensor of weights before pruning; the output itself where the graph does not prune."""
    nodes = _nodes(model)
    name = OUTPUT
    while (before := _masked_tensor(nodes, name)) is not None:
        name = before
    return name


def with_output(model: bytes, name: str) -> bytes:
    """``model`` with one more output."""
    if name == OUTPUT:
        return model
    return model + field(_GRAPH, field(_GRAPH_OUTPUT, field(_NAME, name.encode())))


def _masked_tensor(nodes: dict[str, _Node], name: str) -> str | None:
    """``w`` if ``name`` is w * cast(x > ..) or w * cast(x >= ..), x being w or where(.., .., w)."""
    product = nodes.get(name)
    if product is None or product.operator != "Mul" or len(product.inputs) != 2:
        return None
    weights, mask = product.inputs
    cast = nodes.get(mask)
    compared = nodes.get(cast.inputs[0]) if cast is not None and cast.operator == "Cast" else None
    if compared is None or compared.operator not in ("Greater", "GreaterOrEqual"):
        return None
    chosen = nodes.get(compared.inputs[0])
    is_weights = compared.inputs[0] == weights
    return weights if is_weights or (chosen and chosen.operator == "Where" and chosen.inputs[2] == weights) else None


def _nodes(model: bytes) -> dict[str, _Node]:
    """The graph's nodes by the tensors they make."""
    nodes: dict[str, _Node] = {}
    for content in _contents(memoryview(model), _GRAPH):
        for node in _contents(content, _NODE):
            operator = "".join(str(text, "utf-8") for text in _contents(node, _OPERATOR))
            inputs = [str(text, "utf-8") for text in _contents(node, _INPUT)]
            for output in _contents(node, _NODE_OUTPUT):
                nodes[str(output, "utf-8")] = _Node(operator, inputs)
    return nodes


def _contents(message: memoryview, number: int) -> Iterator[memoryview]:
    return (content for key, content in fields(message) if key == number)
