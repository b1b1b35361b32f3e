"""An fp32 ONNX encoder -> the same encoder in the precisions that were chosen."""

from __future__ import annotations

from typing import Any

import onnx

from osparse.packager.quantize.calibration import ranges_of
from osparse.packager.quantize.choice import Quantization
from osparse.packager.quantize.head import head_product, head_rows, quantize_head
from osparse.packager.quantize.layers import products, quantize_layers
from osparse.packager.quantize.weights import CONSTANTS, add


def rewritten(data: bytes, choice: Quantization) -> Any:
    """The quantised model of an fp32 .onnx file, as an onnx.ModelProto; equal files and choices, equal models."""
    model = onnx.load_from_string(data)
    graph = model.graph
    rows = head_rows(graph)
    inputs = list(dict.fromkeys(node.input[0] for node, _ in products(graph)))
    ranges = ranges_of(data, [*inputs, rows], choice.texts) if choice.calibrated else {}
    if any(part.startswith("int8") for part in (choice.layers, choice.head)):
        for name, value in CONSTANTS.items():
            add(graph, name, value)
    quantize_layers(graph, choice.layers, str(head_product(graph).input[1]), ranges)
    quantize_head(graph, choice.head, ranges[rows] if choice.head == "int8-static" else None)
    return model
