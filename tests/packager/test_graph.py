"""TorchScript and ONNX against the encoder they are made from, and against the plain formula."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import world

from osparse.contracts.model import Model
from osparse.encoders.onnx_session import INPUTS, open_session
from osparse.encoders.torch_encoder import TextEncoder
from osparse.errors import BundleError
from osparse.formula.activation import document_weights
from osparse.formula.head import Head
from osparse.packager.export import onnx as onnx_format
from osparse.packager.export import operators, torchscript

MASKED = (0, 1, 2, 3, 4, 17)
HEADS = [
    Head(max_length=64, masked_ids=MASKED),
    Head("log1p_log1p_relu", max_length=64, masked_ids=MASKED),
    Head(max_length=64, masked_ids=MASKED, prune_ratio=0.4),
    Head("log1p_log1p_relu", max_length=64, masked_ids=MASKED, prune_ratio=0.2, top_k=20),
    Head(max_length=64, masked_ids=MASKED, top_k=20, keep_own=True, own_share=0.5, network_length=16),
]
SHAPES = [(1, 1), (1, 2), (1, 33), (3, 64), (8, 40), (1, 512)]
Run = Callable[[np.ndarray, np.ndarray], np.ndarray]


def batch(batch_size: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Random ids and a mask that pads each row differently; the last row is whole."""
    random = np.random.default_rng(0)
    ids = random.integers(5, 400, (batch_size, length))
    lengths = np.linspace(1, length, batch_size).astype(int) if batch_size > 1 else np.array([length])
    return ids, (np.arange(length) < lengths[:, None]).astype(np.int64)


def graph_of(model: Model, head: Head, elements: int = torchscript.CHUNK_ELEMENTS) -> torchscript.Graph:
    encoder = TextEncoder.open(model, attention="eager").encoder
    return torchscript.Graph(type(encoder)(encoder.mlm, head), elements)


def exported(graph: torchscript.Graph, form: str) -> Run:
    if form == "torchscript":
        return torchscript.TorchScriptRunner(torchscript.export(graph))
    session = open_session(onnx_format.export(graph), "here", threads=1)
    return lambda ids, mask: session.run(None, dict(zip(INPUTS, (ids, mask), strict=True)))[0]


@pytest.mark.parametrize("form", ["torchscript", "onnx"])
@pytest.mark.parametrize("head", HEADS, ids=str)
def test_exports_are_the_encoder_at_any_batch_and_length(model: Model, head: Head, form: str) -> None:
    graph = graph_of(model, head, elements=400 * 7)  # seven tokens of one text at a time: every shape loops
    run = exported(graph, form)
    for shape in SHAPES:
        ids, mask = batch(*shape)
        with torch.inference_mode():
            inputs = torch.from_numpy(ids), torch.from_numpy(mask)
            wanted = graph.encoder.prune(graph.encoder(*inputs), graph.encoder.kept_tokens(*inputs)).numpy()
        found = run(ids, mask)
        assert found.dtype == np.float32 and found.shape == (shape[0], 400)
        assert np.abs(found - wanted).max() < 1e-4
        assert ((found > 1e-3) == (wanted > 1e-3)).all()
        assert (found > 0).any() and not found[:, list(MASKED)].any()


@pytest.mark.parametrize("form", ["torchscript", "onnx"])
@pytest.mark.parametrize("head", HEADS, ids=str)
def test_exports_are_the_plain_formula(model: Model, head: Head, form: str) -> None:
    graph = graph_of(model, head)
    ids, mask = batch(4, 30)
    with torch.inference_mode():
        read = graph.encoder.network_input(torch.from_numpy(ids), torch.from_numpy(mask))
        logits = graph.encoder.mlm(*read).logits.numpy()
    found = exported(graph, form)(ids, mask)
    for row in range(4):
        own = np.isin(np.arange(400), ids[row, mask[row] == 1])
        wanted = document_weights(logits[row], read[1][row].numpy() == 1, head, own=own)
        assert np.abs(found[row] - wanted).max() < 1e-4
    assert not head.keep_own or (found[3] > 0).sum() > head.top_k


@pytest.mark.parametrize("form", ["torchscript", "onnx"])
def test_padding_never_leaks(model: Model, form: str) -> None:
    run = exported(graph_of(model, HEADS[0]), form)
    ids, mask = batch(3, 20)
    alone = run(ids[1:2, : mask[1].sum()], mask[1:2, : mask[1].sum()])
    assert np.abs(run(ids, mask)[1] - alone[0]).max() < 1e-5
    left = np.concatenate([np.full((1, 5), 9), ids[2:3]], 1), np.concatenate([np.zeros((1, 5), np.int64), mask[2:3]], 1)
    other = left[0].copy()
    other[0, :5] = 123
    assert (run(*left) == run(other, left[1])).all()
    assert not run(ids, np.zeros_like(mask)).any()


@pytest.mark.parametrize("road", ["peak", "peak_by_terms"])
def test_no_tensor_of_batch_by_length_by_vocabulary_exists(road: str) -> None:
    """The largest intermediate of the head at 8 x 512 tokens is a chunk, not 8 x 512 x V."""
    from torch.utils._python_dispatch import TorchDispatchMode

    sizes = []

    class Sizes(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            found = function(*args, **(kwargs or {}))
            if isinstance(found, torch.Tensor):
                sizes.append(found.numel())
            return found

    hidden, mask = torch.randn(8, 512, 4), torch.ones(8, 512, dtype=torch.int64)
    weight, bias = torch.randn(1000, 4), torch.randn(1000)
    with Sizes(), torch.no_grad():  # type: ignore[no-untyped-call]
        found = getattr(torchscript, f"_{road}")(hidden, mask, weight, bias, 20_000)
    assert max(sizes) <= 4 * 20_000
    assert torch.equal(found, getattr(torchscript, road)(hidden, mask, weight, bias, 20_000))
    assert torch.allclose(found, torch.relu((hidden @ weight.T + bias).amax(1)), atol=1e-5)


def test_a_decoder_wider_than_the_vocabulary(tmp_path: Path) -> None:
    model = world.make_model(tmp_path / "model", extra_rows=8)
    graph = graph_of(model, model.head)
    ids, mask = batch(2, 9)
    for form in ("torchscript", "onnx"):
        found = exported(graph, form)(ids, mask)
        assert found.shape == (2, 408) and not found[:, 400:].any() and found.any()


def test_onnx_is_what_the_server_reads(model: Model) -> None:
    data = onnx_format.export(graph_of(model, HEADS[3]))
    read = onnx.load_from_string(data)
    assert [i.name for i in read.graph.input] == ["input1.input_ids", "input1.attention_mask"]
    assert [o.name for o in read.graph.output] == ["output"]
    assert all(i.type.tensor_type.elem_type == onnx.TensorProto.INT64 for i in read.graph.input)
    assert read.ir_version <= 9 and {o.domain: o.version for o in read.opset_import} == {"": 17}
    nodes = list(read.graph.node)
    assert [n.op_type for n in nodes].count("Loop") == 1
    maker = {out: n.op_type for n in nodes for out in n.output}
    assert all(maker[n.input[0]] == "Cast" for n in nodes if n.op_type == "ArgMax")  # 1.16.3 has none of int64
    tied = [i for i in read.graph.initializer if sorted(i.dims) == [32, 400]]
    assert len(tied) == 1 and all(not i.external_data for i in read.graph.initializer)


def test_onnx_above_two_gigabytes_is_refused(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_format, "MAX_BYTES", 1000)
    with pytest.raises(BundleError, match="`formats=torchscript`"):
        onnx_format.export(graph_of(model, HEADS[0]))


def test_torchscript_holds_weights_once_and_no_paths(model: Model) -> None:
    data = torchscript.export(graph_of(model, HEADS[0]))
    names = zipfile.ZipFile(io.BytesIO(data)).namelist()
    assert not [name for name in names if "debug" in name or "mangle" in name]
    sizes = [info.file_size for info in zipfile.ZipFile(io.BytesIO(data)).infolist()]
    assert sizes.count(400 * 32 * 4) == 1
    module = torchscript.TorchScriptRunner(data).module
    assert operators.unknown(module, "2.5.1") == operators.unknown(module, "1.13.1") == []
    version = zipfile.ZipFile(io.BytesIO(data)).read("archive/.data/version")
    assert version == b"10\n"  # a lower one would give div, full and gelu their meaning of years ago


def test_operators_that_a_libtorch_lacks_are_named() -> None:
    def attention(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.scaled_dot_product_attention(x, x, x).squeeze((0, 1)).erfinv()

    with torchscript.quiet():
        module = torch.jit.trace(attention, torch.rand(1, 1, 2, 2))
    attention_and_squeeze = ["aten::scaled_dot_product_attention", "aten::squeeze.dims"]
    assert operators.unknown(module, "2.5.1") == ["aten::erfinv"]
    assert operators.unknown(module, "1.13.1") == sorted(["aten::erfinv", *attention_and_squeeze])


def test_what_onnx_runtime_would_not_load_is_named(model: Model) -> None:
    data = onnx_format.export(graph_of(model, HEADS[0]))
    assert onnx_format.problems(data) == []
    read = onnx.load_from_string(data)
    read.ir_version, read.opset_import[0].version = 10, 20
    read.graph.input[0].name = "input_ids"
    read.graph.node[0].op_type = "Gelu"
    said = "; ".join(onnx_format.problems(read.SerializeToString()))
    assert "IR 10" in said and "opset 20" in said and "'input_ids'" in said and "to have Gelu" in said


def test_the_stored_names_are_not_those_of_osparse_s_files(model: Model) -> None:
    """A .pt file holds the code of scripted functions under their module's name, which is no place in this tree."""
    data = torchscript.export(graph_of(model, HEADS[0]))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        code = {name: archive.read(name) for name in archive.namelist() if "/code/" in name}
    stored = "__torch__/osparse/packager/torchscript.py"
    assert {name.partition("/code/")[2] for name in code} == {"__torch__.py", stored}
    assert torchscript.__name__.encode() not in data and str(Path(torchscript.__file__).parent).encode() not in data
    assert set(re.findall(rb"__torch__\.[\w.]+", b"".join(code.values()))) == {
        b"__torch__.PlaceholderModule", b"__torch__.osparse.packager.torchscript._peak_by_terms",
    }  # fmt: skip
