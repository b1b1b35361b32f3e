"""int8 ONNX: smaller, near, the same bytes again, and refused where it changes too much."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import world

from osparse.contracts.bundle import Bundle
from osparse.contracts.model import Model
from osparse.contracts.zip_members import read_member
from osparse.encoders import similarity
from osparse.encoders.onnx_encoder import OnnxEncoder, read_tokenizer
from osparse.encoders.onnx_session import INPUTS, open_session
from osparse.encoders.similarity import LEAST_COSINE
from osparse.errors import CheckError
from osparse.packager import package
from osparse.packager.checkpoint.loaded import LoadedModel
from osparse.packager.checks import runtimes
from osparse.packager.checks.emulator import ServerEncoder
from osparse.packager.compare.parity import Case
from osparse.packager.export import formats, quantize, torchscript
from osparse.packager.export import onnx as onnx_format


@pytest.fixture(scope="module")
def files(model: Model) -> tuple[bytes, bytes]:
    data = onnx_format.export(torchscript.Graph(LoadedModel.open(model).encoder))
    return data, quantize.quantized(data)


def test_the_graph_is_int8_throughout(files: tuple[bytes, bytes]) -> None:
    fp32, int8 = (onnx.load_from_string(data) for data in files)
    assert onnx_format.problems(files[1]) == [] and quantize.quantized(files[0]) == files[1]
    products = [n.op_type for n in onnx_format._nodes(int8.graph)]
    linear = sum(n.op_type == "MatMul" for n in onnx_format._nodes(fp32.graph)) - 4  # two layers of scores and context
    assert products.count("MatMulInteger") == linear + 1 and "Gemm" not in products
    largest = {tuple(i.dims): i.data_type for i in int8.graph.initializer if len(i.dims) == 2}
    assert largest[(400, 32)] == onnx.TensorProto.UINT8  # the tied matrix, once
    assert sum(tuple(i.dims) == (400, 32) for i in int8.graph.initializer) == 1


def test_it_is_near_and_padding_changes_little(files: tuple[bytes, bytes]) -> None:
    run = [open_session(data, "here", threads=1) for data in files]
    ids = np.random.default_rng(0).integers(5, 400, (3, 40))
    mask = (np.arange(40) < np.array([[40], [9], [1]])).astype(np.int64)
    fp32, int8 = (s.run(None, dict(zip(INPUTS, (ids, mask), strict=True)))[0] for s in run)
    assert all(
        similarity.cosine(a, b) > 0.99 and similarity.shared_tokens(a, b) > 0.8 for a, b in zip(fp32, int8, strict=True)
    )
    alone = run[1].run(None, dict(zip(INPUTS, (ids[1:2, :9], mask[1:2, :9]), strict=True)))[0]
    assert similarity.cosine(alone[0], int8[1]) > 0.999


def test_a_lexical_table_stays_exact(tmp_path: Path) -> None:
    """Where the network gives nothing, int8 changes nothing: the table is looked up, not multiplied."""
    source = LoadedModel.open(world.make_model(tmp_path / "model", lexical=True))
    with torch.no_grad():
        source.encoder.decoder.bias.fill_(-1e4)
    int8 = quantize.quantized(onnx_format.export(torchscript.Graph(source.encoder)))
    ids, mask = np.arange(5, 17)[None].repeat(2, 0), np.ones((2, 12), np.int64)
    mask[1, 7:] = 0
    found = open_session(int8, "here", threads=1).run(None, dict(zip(INPUTS, (ids, mask), strict=True)))[0]
    assert found.any()
    np.testing.assert_allclose(found, source.run(ids, mask), atol=1e-6)


def test_rows_and_scales_give_the_matrix_back() -> None:
    matrix = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    matrix[2] = 0
    values, scales = quantize._per_row(matrix)
    assert values.dtype == np.uint8 and (scales > 0).all()
    back = (values.astype(np.float32) - quantize.MIDDLE) * scales[:, None]
    assert np.abs(back - matrix).max() <= scales.max() / 2 + 1e-6


def test_a_model_that_int8_changes_too_much_is_refused() -> None:
    case = Case("one", np.ones((1, 3), np.int64), np.ones((1, 3), np.int64))
    wanted = np.array([[0.0, 1.0, 2.0]], np.float32)
    loss = quantize.measure(
        {"onnx": lambda *_: wanted + np.array([[0, 0.02, 0]], np.float32)}, lambda *_: wanted, [case]
    )
    assert loss == {"cosine_above": 0.995, "shared_tokens_above": 1.0, "largest_difference_below": 0.03}
    with pytest.raises(
        CheckError, match=r"cosine 0\.894 \(1 is the same direction; at least 0\.97 is required.*without `quantize`"
    ):
        quantize.measure({"onnx": lambda *_: wanted * np.array([[0, 0, 1]], np.float32)}, lambda *_: wanted, [case])


def test_a_quantised_bundle_says_what_it_loses(model: Model, bundle: Bundle, tmp_path: Path) -> None:
    made = package(model, tmp_path / "bundle", ["onnx"], quantize="int8")
    assert made.quantization["scheme"] == "int8" and made.quantization["cosine_above"] >= LEAST_COSINE
    assert made.tolerance == made.quantization["largest_difference_below"] and made.checks["parity"] == {}
    sizes = [len(read_member(b.zip_path("onnx"), "model.onnx")) for b in (made, bundle)]
    assert sizes[0] < sizes[1]
    assert [probe.document for probe in made.probes()] == [probe.document for probe in bundle.probes()]
    words = [probe.document for probe in made.probes()]
    tokens = read_tokenizer(made.zip_path("tokenizer"))[1]
    ids = [{tokens.index(t): w for t, w in found.items()} for found in words]
    loose = replace(made, tolerance=5.0)
    assert runtimes._documents(loose, "onnx", "emulator", words, ids).outcome == "ok"
    swapped = runtimes._documents(loose, "onnx", "emulator", [words[1], *words[1:]], [ids[1], *ids[1:]])
    assert swapped.outcome == "failed" and "another vector: cosine" in swapped.detail
    encoder, texts = OnnxEncoder.open(made, threads=1), [probe.text for probe in made.probes()]
    alone = [encoder.encode([text])[0] for text in texts]
    assert encoder.encode([*texts, "pears", "a ferry"]) == [
        *alone,
        *encoder.encode(["pears"]),
        *encoder.encode(["a ferry"]),
    ]
    server = ServerEncoder.open(
        made.zip_path("onnx"), "ONNX", formats.open_runners({"onnx": made.zip_path("onnx")})["onnx"]
    )
    assert encoder.encode(texts[1:2])[0] == pytest.approx(server.predict(texts[1]), abs=1e-6), "as the server has it"
