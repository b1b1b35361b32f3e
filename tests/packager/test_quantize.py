"""int8 ONNX: smaller, near, the same bytes again, and refused where it changes too much."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import world

from osparse.cli.main import main
from osparse.contracts.bundle import Bundle
from osparse.contracts.dataset import Dataset
from osparse.contracts.model import Model
from osparse.contracts.zip_members import read_member
from osparse.encoders import similarity
from osparse.encoders.onnx_encoder import OnnxEncoder, read_tokenizer
from osparse.encoders.onnx_session import INPUTS, open_session
from osparse.encoders.similarity import LEAST_COSINE
from osparse.errors import CheckError, InputError
from osparse.packager import compare_quantizations, package
from osparse.packager.checkpoint.loaded import LoadedModel
from osparse.packager.checks import runtimes
from osparse.packager.checks.emulator import ServerEncoder
from osparse.packager.checks.registry import Subject
from osparse.packager.export import formats, torchscript
from osparse.packager.export import onnx as onnx_format
from osparse.packager.quantization_table import CHOICES as CHOICES_COMPARED
from osparse.packager.quantization_table import Row, recommend
from osparse.packager.quantize import weights
from osparse.packager.quantize.calibration import ranges_of
from osparse.packager.quantize.choice import parse
from osparse.packager.quantize.head import head_product
from osparse.packager.quantize.layers import products, word_table
from osparse.packager.quantize.loss import require_likeness
from osparse.packager.quantize.rewrite import rewritten


def quantized(data: bytes, choice: str) -> bytes:
    return onnx_format.cleaned(rewritten(data, parse(choice)))


@pytest.fixture(scope="module")
def files(model: Model) -> tuple[bytes, bytes]:
    data = onnx_format.export(torchscript.Graph(LoadedModel.open(model).encoder))
    return data, quantized(data, "int8")


def test_the_graph_is_int8_throughout(files: tuple[bytes, bytes]) -> None:
    fp32, int8 = (onnx.load_from_string(data) for data in files)
    assert onnx_format.problems(files[1]) == [] and quantized(files[0], "int8") == files[1]
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
    int8 = quantized(onnx_format.export(torchscript.Graph(source.encoder)), "int8")
    ids, mask = np.arange(5, 17)[None].repeat(2, 0), np.ones((2, 12), np.int64)
    mask[1, 7:] = 0
    found = open_session(int8, "here", threads=1).run(None, dict(zip(INPUTS, (ids, mask), strict=True)))[0]
    assert found.any()
    np.testing.assert_allclose(found, source.run(ids, mask), atol=1e-6)


def test_rows_and_scales_give_the_matrix_back() -> None:
    matrix = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    matrix[2] = 0
    values, scales = weights.quantised(matrix, per_row=True)
    assert values.dtype == np.uint8 and (scales > 0).all()
    back = (values.astype(np.float32) - weights.MIDDLE) * scales[:, None]
    assert np.abs(back - matrix).max() <= scales.max() / 2 + 1e-6


def test_a_model_that_int8_changes_too_much_is_refused() -> None:
    wanted = np.array([[0.0, 1.0, 2.0]], np.float32)
    loss = require_likeness({"onnx": [wanted + np.array([[0, 0.02, 0]], np.float32)]}, [wanted], "int8")
    assert loss == {"cosine_above": 0.995, "shared_tokens_above": 1.0, "largest_difference_below": 0.03}
    with pytest.raises(
        CheckError, match=r"cosine 0\.894 \(1 is the same direction; at least 0\.97 is required.*without `quantize`"
    ):
        require_likeness({"onnx": [wanted * np.array([[0, 0, 1]], np.float32)]}, [wanted], "int8")


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
    loose = Subject(replace(made, tolerance=5.0))
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


CHOICES = {
    "fp16": 0.99999, "layers=fp16": 0.99999, "head=fp16": 0.99999, "int8-tensor": 0.97, "int8-static": 0.98,
    "layers=int8,head=fp16": 0.99, "layers=int8-static,head=fp32": 0.98, "layers=fp16,head=int8-static": 0.98,
}  # fmt: skip


@pytest.mark.parametrize("choice", CHOICES)
def test_each_part_has_its_own_precision(choice: str, files: tuple[bytes, bytes]) -> None:
    texts = [np.random.default_rng(n).integers(5, 400, 30).tolist() for n in range(8)]
    data = onnx_format.cleaned(rewritten(files[0], replace(parse(choice), texts=texts)))
    assert onnx_format.problems(data) == [] and len(data) < len(files[0])
    ids = np.random.default_rng(9).integers(5, 400, (2, 30))
    inputs = dict(zip(INPUTS, (ids, np.ones_like(ids)), strict=True))
    before, after = (open_session(each, "here", threads=1).run(None, inputs)[0] for each in (files[0], data))
    assert not np.array_equal(before, after)
    assert min(similarity.cosine(a, b) for a, b in zip(before, after, strict=True)) > CHOICES[choice]
    stored = {tuple(i.dims): i.data_type for i in onnx.load_from_string(data).graph.initializer if len(i.dims) == 2}
    named = dict(part.split("=") for part in choice.split(",")) if "=" in choice else {}
    kinds = {"fp32": onnx.TensorProto.FLOAT, "fp16": onnx.TensorProto.FLOAT16}
    for shape, part in {(400, 32): "head", (32, 32): "layers"}.items():
        precision = named.get(part, "fp32") if named else choice
        assert stored[shape] == kinds.get(precision, onnx.TensorProto.UINT8), part


def test_static_scales_are_those_of_the_texts(files: tuple[bytes, bytes]) -> None:
    """The range of a tensor, taken by hand from the graph's own outputs."""
    graph = onnx.load_from_string(files[0]).graph
    name = products(graph)[0][0].input[0]
    texts = [[5, 6, 7], [8, 9]]
    given = ranges_of(files[0], [name], texts)[name]
    model = onnx.load_from_string(files[0])
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    session = open_session(model.SerializeToString(), "here", threads=1)
    rows = [np.array([text]) for text in texts]
    values = [session.run([name], dict(zip(INPUTS, (row, np.ones_like(row)), strict=True)))[0] for row in rows]
    assert given.low == min(0, *(v.min() for v in values)) and given.high == max(0, *(v.max() for v in values))
    assert given.scale == pytest.approx((given.high - given.low) / 255)
    assert (0 - given.zero) * given.scale == pytest.approx(given.low, abs=given.scale)


def test_an_untied_decoder_leaves_its_embeddings_to_the_layers(tmp_path: Path) -> None:
    source = LoadedModel.open(world.make_model(tmp_path / "model"))
    with torch.no_grad():
        source.encoder.mlm.set_output_embeddings(torch.nn.Linear(32, 400))
    data = onnx_format.export(torchscript.Graph(source.encoder))
    ids = np.random.default_rng(0).integers(5, 400, (1, 12))
    for choice, kind in {"layers=int8": onnx.TensorProto.UINT8, "layers=fp16": onnx.TensorProto.FLOAT16}.items():
        made = quantized(data, choice)
        graph = onnx.load_from_string(made).graph
        table, head = word_table(onnx.load_from_string(data).graph), head_product(graph).input[1]
        kinds = {i.name.removesuffix(".half"): i.data_type for i in graph.initializer}
        assert table != head and kinds[str(table)] == kind and kinds[head] == onnx.TensorProto.FLOAT
        runs = [formats.get("onnx").open(each, "here") for each in (data, made)]
        before, after = (run(ids, np.ones_like(ids))[0] for run in runs if run is not None)
        assert similarity.cosine(before, after) > 0.99


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("int4", r"must be one of fp16, int8, int8-tensor, int8-static, or name parts .*; got 'int4'"),
        ("layers=int8,head=bf16", "got 'bf16' in 'layers=int8,head=bf16'"),
        ("body=int8", "'body' of 'body=int8' is not a part, which are layers and head"),
        ("layers=int8,layers=fp16", "'layers' of .* is given twice"),
        ("layers=int8,", "'' of 'layers=int8,' is not a part"),
        ("fp32", "leaves every part in fp32; leave `quantize` out"),
        ("layers=fp32,head=fp32", "leaves every part in fp32"),
        ("", "must be one of"),
    ],
)
def test_a_choice_that_is_not_known_is_refused(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse(text)


def test_a_choice_is_written_as_it_is_read() -> None:
    assert str(parse("int8")) == "int8" and parse("layers=int8,head=int8") == parse("int8")
    assert str(parse("head=fp16")) == "layers=fp32,head=fp16" and parse(str(parse("head=fp16"))) == parse("head=fp16")
    assert parse("layers=int8-static").calibrated and not parse("layers=int8,head=fp16").calibrated


def test_a_static_bundle_is_made_once_for_each_dataset(model: Model, dataset: Dataset, tmp_path: Path) -> None:
    output, choice = tmp_path / "bundle", "layers=int8-static,head=fp16"
    with pytest.raises(InputError, match="takes its scales from texts; pass the `dataset`"):
        package(model, output, ["onnx"], quantize=choice)
    made = package(model, output, ["onnx"], quantize=choice, dataset=dataset)
    assert made.quantization["scheme"] == choice and made.quantization["calibrated_on"] == dataset.fingerprint
    assert package(model, output, ["onnx"], quantize=choice, dataset=dataset).fingerprint == made.fingerprint
    with pytest.raises(InputError, match="made from another model.*quantisation, vocabulary or non-zeros"):
        package(model, output, ["onnx"], quantize="int8", dataset=dataset)


def row(choice: str, cpu: float, size: int, change: float | None = None, p: float | None = None, **kept: Any) -> Row:
    ndcg = None if change is None else 0.5 + change
    figures = {"mean_cosine": 0.995, "least_cosine": 0.98, "mean_shared": 0.95, "allowed": True, **kept}
    return Row(
        choice, **figures, largest_difference=0.1, zip_bytes=size, memory_bytes=1, cpu_seconds=cpu, ndcg=ndcg,
        ndcg_change=change, p=p,
    )  # fmt: skip


def test_the_quickest_choice_that_loses_little_is_recommended() -> None:
    fp32 = row("fp32", 1.0, 100, 0.0, 1.0)
    assert recommend([fp32, row("fp16", 1.0, 50, 0.0, 1.0), row("int8", 0.5, 25, -0.001, 0.4)]) == "int8"
    assert recommend([fp32, row("fp16", 1.0, 50, 0.0, 1.0), row("int8", 0.5, 25, -0.004, 0.01)]) == "fp16"
    assert recommend([fp32, row("int8", 0.5, 25, -0.02, 0.4)]) is None
    assert recommend([fp32, row("int8", 0.5, 25, 0.0, 1.0, allowed=False)]) is None
    assert recommend([fp32, row("a", 0.50, 40, 0.0, 1.0), row("b", 0.51, 25, 0.0, 1.0)]) == "b", "as quick, smaller"
    unjudged = [row("fp32", 1.0, 100), row("int8", 0.5, 25, mean_cosine=0.98), row("fp16", 1.0, 50)]
    assert recommend(unjudged) == "fp16"
    assert recommend([row("fp32", 1.0, 100), row("other", 0.97, 99)]) is None


def test_the_table_measures_every_choice(model: Model, dataset: Dataset) -> None:
    table = compare_quantizations(model, dataset)
    assert [r.choice for r in table.rows] == ["fp32", *CHOICES_COMPARED]
    fp32, fp16, int8 = (next(r for r in table.rows if r.choice == name) for name in ("fp32", "fp16", "int8"))
    assert fp32.mean_cosine == pytest.approx(1) and fp32.largest_difference == 0 and fp32.ndcg_change == 0
    assert 0.99999 < fp16.mean_cosine and 0.9 < int8.mean_cosine < fp16.mean_cosine
    assert int8.zip_bytes < fp16.zip_bytes < fp32.zip_bytes and int8.cpu_seconds > 0
    assert "recommended: " in table.text() and "nDCG@10 of" in table.judged


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--quantize", "compare", "--output", "bundle", "--format", "onnx"], "leave out --output, --format"),
        (["--quantize", "int8"], "Missing option '--output'"),
        (["--quantize", "layers=int4", "--output", "bundle"], "--quantize must be one of fp16"),
        (["--quantize", "int8-static", "--output", "bundle"], "pass the --dataset to take them from"),
        (["--quantize", "fp16", "--output", "bundle", "--format", "torchscript"], "--quantize fp16 is for ONNX"),
    ],
)
def test_the_command_refuses_what_does_not_go_together(
    options: list[str], said: str, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["package", str(model.path.resolve()), *options])
    assert ended.value.code == 2 and said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_command_prints_the_table(model: Model, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["package", str(model.path), "--quantize", "compare"])
    printed = capsys.readouterr().out
    assert ended.value.code == 0 and "int8-tensor" in printed and "no judgements\nrecommended: " in printed
    assert "static" not in printed, "static scales need texts"
