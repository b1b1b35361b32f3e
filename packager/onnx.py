"""ONNX for ML Commons: inputs input1.input_ids and input1.attention_mask, output (B, V), one file.

The server's ONNX Runtime 1.16.3 reads IR 9 at most; opset 17 is older than that. The TorchScript exporter is used
because it turns the scripted chunk loop into a Loop; without constant folding the tied matrix is stored once.
"""

from __future__ import annotations

import io
import logging
from typing import Any

import onnx
import torch

from osparse.errors import BundleError
from osparse.packager.torchscript import Graph, example, quiet

MAX_IR = 9
OPSET = 17
MAX_BYTES = 2_000_000_000
"""A protobuf holds 2 GB; beyond it weights would go to a second file, which the server loses."""
INPUTS = ("input1.input_ids", "input1.attention_mask")


def export(graph: Graph) -> bytes:
    """The .onnx file; the same weights give the same bytes. Raises :class:`BundleError` above 2 GB."""
    size = sum(p.numel() * p.element_size() for p in graph.parameters())
    if size > MAX_BYTES:
        raise BundleError(
            f"the model has {size:,} bytes of weights, one ONNX file holds 2 GB; use --format torchscript"
        )
    buffer = io.BytesIO()
    dynamic = {0: "batch", 1: "length"}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with quiet(), torch.no_grad():
        torch.onnx.export(
            graph,
            example(),
            buffer,  # type: ignore[arg-type]  # the TorchScript exporter writes to buffers too
            input_names=list(INPUTS),
            output_names=["output"],
            dynamic_axes={INPUTS[0]: dynamic, INPUTS[1]: dynamic, "output": {0: "batch"}},
            opset_version=OPSET,
            do_constant_folding=False,
            dynamo=False,
        )
    return _cleaned(onnx.load_from_string(buffer.getvalue()))


def _cleaned(model: Any) -> bytes:
    """No doc strings (they may hold source paths), no exporter version; IR and opset checked."""
    if model.ir_version > MAX_IR or any(o.domain == "" and o.version > OPSET for o in model.opset_import):
        raise BundleError(f"the ONNX file has IR {model.ir_version}; the server reads IR {MAX_IR} and opset {OPSET}")
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
