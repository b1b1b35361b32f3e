"""A bundle made without torch: its encoder looks every token's logits up in a random table, the formula without a net."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import world

from osparse.contracts.bundle import Bundle, BundleFile, write_manifest
from osparse.formula.activation import document_weights, sparse_dict
from osparse.formula.head import Head
from osparse.formula.lexicon import load_tokenizer
from osparse.formula.query_encoder import QueryEncoder
from osparse.io.files import sha256_file

TEXTS = ["growing pears", "비와 구름", "ver. 2.0", "한국어 english 섞인 text 2.0"]


def make_lookup_bundle(folder: Path, name: str = "tiny", seed: int = 0) -> Bundle:
    """Another seed is another encoder under the same name."""
    tokenizer_path = world.make_tokenizer(folder / "tokenizer.json")
    lexicon = world.make_lexicon(tokenizer_path)
    head = Head(max_length=64, masked_ids=lexicon.special_ids)
    raw = json.loads(tokenizer_path.read_text(encoding="utf-8"))
    raw["decoder"] = None
    raw["truncation"] = {"max_length": 64, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    parts = {"tokenizer.json": json.dumps(raw, ensure_ascii=False).encode(), "idf.json": lexicon.idf_text().encode()}
    size = len(lexicon.tokens)
    table = np.random.default_rng(seed).normal(-2.5, 1.5, (size, size)).astype(np.float32)
    graph = lookup_graph(table, head.masked_ids)
    write_zip(folder / "encoder.onnx.zip", {**parts, "model.onnx": graph})
    write_zip(folder / "tokenizer.zip", parts)
    for part in ("tokenizer.json",):
        (folder / part).unlink()
    tokenizer_json = folder / "t.json"
    tokenizer_json.write_bytes(parts["tokenizer.json"])
    tokenizer = load_tokenizer(tokenizer_json)
    tokenizer_json.unlink()
    query = QueryEncoder(tokenizer, lexicon, max_length=64)
    with (folder / "probes.jsonl").open("w", encoding="utf-8") as file:
        for text in TEXTS:
            ids = tokenizer.encode(text).ids
            weights = document_weights(table[ids], np.ones(len(ids), bool), head)
            row = {
                "text": text,
                "lang": "xx",
                "document": sparse_dict(weights, lexicon.tokens),
                "query": query.encode(text),
            }
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    write_manifest(
        folder, name=name, model="0" * 64, idf_version=lexicon.version, head=head, vocabulary=size,
        files={
            "onnx": bundle_file(folder / "encoder.onnx.zip", "SPARSE_ENCODING", "ONNX"),
            "tokenizer": bundle_file(folder / "tokenizer.zip", "SPARSE_TOKENIZE", "TORCH_SCRIPT"),
        },
    )  # fmt: skip
    return Bundle.open(folder)


def write_zip(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)


def bundle_file(path: Path, function_name: str, model_format: str) -> BundleFile:
    return BundleFile(path.name, sha256_file(path), path.stat().st_size, function_name, model_format)  # type: ignore[arg-type]


def lookup_graph(table: np.ndarray, masked: tuple[int, ...]) -> bytes:
    """ONNX: log1p(relu(max over tokens of table[id])), zero at the masked ids."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    keep = np.ones(table.shape[1], np.float32)
    keep[list(masked)] = 0
    nodes = [
        helper.make_node("Gather", ["table", "input1.input_ids"], ["logits"], axis=0),
        helper.make_node("Cast", ["input1.attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["mask3"]),
        helper.make_node("Relu", ["logits"], ["positive"]),
        helper.make_node("Mul", ["positive", "mask3"], ["visible"]),
        helper.make_node("ReduceMax", ["visible"], ["peak"], axes=[1], keepdims=0),
        helper.make_node("Add", ["peak", "one"], ["plus"]),
        helper.make_node("Log", ["plus"], ["log"]),
        helper.make_node("Mul", ["log", "keep"], ["output"]),
    ]
    constants = {"table": table, "keep": keep, "one": np.ones(1, np.float32), "last": np.array([-1], np.int64)}
    graph = helper.make_graph(
        nodes,
        "lookup",
        [
            helper.make_tensor_value_info(f"input1.{n}", TensorProto.INT64, ["b", "l"])
            for n in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["b", table.shape[1]])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    data = io.BytesIO()
    onnx.save(model, data)
    return data.getvalue()
