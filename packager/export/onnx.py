"""ONNX for ML Commons: inputs input1.input_ids and input1.attention_mask, output (B, V), one file.

The server's ONNX Runtime 1.16.3 reads IR 9 at most; opset 17 is older than that. The TorchScript exporter is used
because it turns the scripted chunk loop into a Loop; without constant folding the tied matrix is stored once.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from typing import Any

import onnx
import torch

from osparse.encoders.onnx_session import INPUTS
from osparse.errors import BundleError
from osparse.opensearch_versions import MAX_IR, MAX_OPSET
from osparse.packager.export.torchscript import Graph, example, peak, quiet

OPSET = 17
MAX_BYTES = 2_000_000_000
"""A protobuf holds 2 GB; beyond it weights would go to a second file, which the server loses."""
KNOWN = frozenset(
    (
        "Abs Add And ArgMax Cast CastLike Ceil Clip Concat Constant ConstantOfShape Cos CumSum DequantizeLinear Div "
        "Dropout DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand Flatten Floor Gather GatherElements GatherND "
        "Gemm Greater GreaterOrEqual HardSigmoid HardSwish Identity If LayerNormalization LeakyRelu Less LessOrEqual "
        "Log LogSoftmax Loop MatMul MatMulInteger Max Mean Min Mod Mul Neg Not Or Pad Pow QuantizeLinear Range "
        "Reciprocal ReduceL2 ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Relu Reshape Round ScatterElements "
        "ScatterND Shape Sigmoid Sign Sin Size Slice Softmax Softplus Split Sqrt Squeeze Sub Sum Tanh Tile TopK "
        "Transpose Trilu Unsqueeze Where Xor"
    ).split()
)
"""Operators of opset 17 that ONNX Runtime 1.16.3 runs on a CPU."""


LARGER = 4
"""Chunks of logits than TorchScript's: ONNX Runtime takes longer for a turn of a loop."""


def export(graph: Graph) -> bytes:
    """The .onnx file; the same weights give the same bytes. Raises :class:`BundleError` above 2 GB."""
    size = sum(p.numel() * p.element_size() for p in (*graph.parameters(), *graph.buffers()))
    if size > MAX_BYTES:
        raise BundleError(
            f"the model has {size:,} bytes of weights, one ONNX file holds 2 GB; package it with `formats=torchscript`"
        )
    buffer = io.BytesIO()
    dynamic = {0: "batch", 1: "length"}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    by_tokens = Graph(graph.encoder, LARGER * graph.elements, peak)
    with quiet(), torch.no_grad():
        torch.onnx.export(
            by_tokens,
            example(),
            buffer,  # type: ignore[arg-type]  # the TorchScript exporter writes to buffers too
            input_names=list(INPUTS),
            output_names=["output"],
            dynamic_axes={INPUTS[0]: dynamic, INPUTS[1]: dynamic, "output": {0: "batch"}},
            opset_version=OPSET,
            do_constant_folding=False,
            dynamo=False,
        )
    return cleaned(onnx.load_from_string(buffer.getvalue()))


def problems(data: bytes) -> list[str]:
    """Why the server's ONNX Runtime 1.16.3 would not load the file, in words; [] if nothing is known against it."""
    model = onnx.load_from_string(data)
    reasons = []
    if model.ir_version > MAX_IR:
        reasons.append(f"it has IR {model.ir_version}, the server reads IR {MAX_IR}")
    reasons += [f"it has opset {o.version} of {o.domain or 'ai.onnx'}" for o in model.opset_import if _is_new(o)]
    names = sorted(i.name for i in model.graph.input)
    if names != sorted(INPUTS):
        reasons.append(f"its inputs are {names}, the server has {sorted(INPUTS)}")
    if any(i.data_location == onnx.TensorProto.EXTERNAL for i in model.graph.initializer):
        reasons.append("it keeps weights in a second file, which the server loses")
    unknown = sorted({node.op_type for node in _nodes(model.graph) if node.op_type not in KNOWN})
    if unknown:
        reasons.append(f"ONNX Runtime 1.16.3 is not known to have {', '.join(unknown)}")
    return reasons


def _is_new(opset: Any) -> bool:
    return bool(opset.domain not in ("", "ai.onnx") or opset.version > MAX_OPSET)


def _nodes(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)


def cleaned(model: Any) -> bytes:
    """No doc strings (they may hold source paths), no exporter version, and the same order of bytes everywhere."""
    model.producer_name, model.producer_version, model.doc_string = "osparse", "", ""
    del model.metadata_props[:]
    _strip(model.graph)
    data: bytes = model.SerializeToString(deterministic=True)
    onnx.checker.check_model(data)
    return data


def _strip(graph: Any) -> None:
    graph.doc_string = ""
    for node in graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _strip(attribute.g)
