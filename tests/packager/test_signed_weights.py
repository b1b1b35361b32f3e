"""The graphs of int8 bundles with signed weights: other bytes, the same answers to the bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import world

from osparse.encoders.kernels import signed_weights
from osparse.encoders.kernels.signed_weights import has_vnni, signed
from osparse.encoders.onnx_session import INPUTS, open_session
from osparse.packager.checkpoint.loaded import LoadedModel
from osparse.packager.export import onnx as onnx_format
from osparse.packager.export import torchscript
from osparse.packager.quantize.choice import parse
from osparse.packager.quantize.rewrite import rewritten


@pytest.fixture(scope="module")
def fp32(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    model = world.make_model(tmp_path_factory.mktemp("signed") / "model", lexical=True)
    return onnx_format.export(torchscript.Graph(LoadedModel.open(model).encoder))


@pytest.mark.skipif(not has_vnni(), reason="without VNNI uint8 x int8 may be cut off, and is never used")
@pytest.mark.parametrize("choice", ["int8", "int8-tensor", "layers=int8,head=fp16", "layers=fp16,head=int8"])
def test_the_answers_are_the_same_to_the_bit(fp32: bytes, choice: str) -> None:
    unsigned = onnx_format.cleaned(rewritten(fp32, parse(choice)))
    ids = np.random.default_rng(0).integers(0, 400, (2, 40))
    inputs = dict(zip(INPUTS, (ids, np.ones_like(ids)), strict=True))
    before, after = (
        open_session(data, "here", threads=1).run(None, inputs)[0] for data in (unsigned, signed(unsigned))
    )
    assert before.any()
    np.testing.assert_array_equal(after, before)


def test_every_matrix_becomes_signed(fp32: bytes) -> None:
    unsigned = onnx_format.cleaned(rewritten(fp32, parse("int8")))
    kinds = [
        [t.data_type for t in onnx.load_from_string(data).graph.initializer if len(t.dims) == 2]
        for data in (unsigned, signed(unsigned))
    ]
    assert onnx.TensorProto.UINT8 in kinds[0] and onnx.TensorProto.UINT8 not in kinds[1]
    assert kinds[1].count(onnx.TensorProto.INT8) == kinds[0].count(onnx.TensorProto.UINT8)
    onnx.checker.check_model(signed(unsigned))


def test_other_graphs_stay_as_they_are(fp32: bytes) -> None:
    assert signed(fp32) == fp32


@pytest.mark.parametrize(("flags", "has"), [("fpu avx512_vnni", True), ("avx_vnni", True), ("fpu avx2 novnni", False)])
def test_the_kernel_says_what_the_processor_has(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: str, has: bool
) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags\t\t: {flags}\n", encoding="utf-8")
    monkeypatch.setattr(signed_weights, "CPU", tmp_path / "cpuinfo")
    assert has_vnni() is has
    monkeypatch.setattr(signed_weights, "CPU", tmp_path / "missing")
    assert not has_vnni()
