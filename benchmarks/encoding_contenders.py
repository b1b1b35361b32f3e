"""The contenders of benchmarks/encoding.py, each run as a child in its own environment; see there."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from child import serve

COMPARED = 64
"""Texts whose vectors are compared."""
Vectors = list[dict[str, float]]


def osparse(model: str, texts: list[str], batch: int, device: str, precision: Any) -> Callable[[], Vectors]:
    from osparse.encoders.torch_encoder import TextEncoder

    encoder = TextEncoder.open(model, device=device, precision=precision)
    encoder.encode(texts[:batch])
    return lambda: encoder.encode(texts, batch)[:COMPARED]


def osparse_int8(model: str, texts: list[str], batch: int, device: str, precision: str) -> Callable[[], Vectors]:
    """The graph of ``osparse package --quantize int8`` as ``osparse encode`` runs it: each text alone, one thread each.

    Here the threads are of one process; ``osparse encode`` has a process for each.
    """
    from concurrent.futures import ThreadPoolExecutor

    import torch
    import workload

    from osparse.contracts.model import Model
    from osparse.encoders.onnx_encoder import OnnxEncoder

    opened = Model.open(model)
    tokenizer, graph = workload.document_tokenizer(opened), workload.int8_graph(opened)
    encoder = OnnxEncoder.of_graph(graph, "int8.onnx", tokenizer, opened.lexicon.tokens, threads=1)
    del graph
    pool = ThreadPoolExecutor(torch.get_num_threads())

    def work() -> Vectors:
        return list(pool.map(lambda text: encoder.encode([text])[0], texts))[:COMPARED]

    encoder.encode(texts[:batch])
    return work


def osparse_plain(model: str, texts: list[str], batch: int, device: str, precision: str) -> Callable[[], Vectors]:
    """Without the int8 screen and without the kernels for a GPU."""
    from osparse.encoders import sparse_head, torch_encoder

    torch_encoder.pays = lambda weight: False
    sparse_head._device_kernels = lambda hidden: None
    return osparse(model, texts, batch, device, precision)


def sentence_transformers(
    model: str, texts: list[str], batch: int, device: str, precision: str
) -> Callable[[], Vectors]:
    """Its path without padding is used where it has one: with flash attention, on a GPU."""
    import torch
    from sentence_transformers import SparseEncoder
    from sentence_transformers.sparse_encoder.modules import SpladePooling, Transformer

    options: dict[str, Any] = {"dtype": torch.bfloat16} if precision == "bf16" else {}
    if device == "cuda" and importlib.util.find_spec("flash_attn"):
        options["attn_implementation"] = "flash_attention_2"
    encoder: Any = SparseEncoder(
        modules=[Transformer(model, transformer_task="fill-mask", model_kwargs=options), SpladePooling("max")],
        device=device,
    )
    encoder.encode(texts[:batch], batch_size=batch)

    def work() -> Vectors:
        vectors = encoder.encode(texts, batch_size=batch, convert_to_sparse_tensor=True)
        first = vectors.coalesce()
        kept = first.indices()[0] < COMPARED
        found: Vectors = [{} for _ in texts[:COMPARED]]
        ids = first.indices()[:, kept]
        tokens = encoder.tokenizer.convert_ids_to_tokens(ids[1].tolist())
        for row, token, value in zip(ids[0].tolist(), tokens, first.values()[kept].tolist(), strict=True):
            if value:
                found[row][token] = value
        return found

    return work


def opensearch_py_ml(model: str, texts: list[str], batch: int, device: str, precision: str) -> Callable[[], Vectors]:
    from opensearch_py_ml.ml_models.sparse_encoding_model import SparseEncodingModel

    encoder = SparseEncodingModel(model, folder_path="/dev/null/none", overwrite=True)
    encoder.process_sparse_encoding(texts[:batch])

    def work() -> Vectors:
        found: Vectors = []
        for start in range(0, len(texts), batch):
            found += encoder.process_sparse_encoding(texts[start : start + batch])
        return found[:COMPARED]

    return work


def main() -> None:
    contender, model, file, batch, threads, output, device, precision = sys.argv[1:]
    import torch

    torch.set_num_threads(int(threads))
    texts = json.loads(Path(file).read_text(encoding="utf-8"))
    serve(globals()[contender](model, texts, int(batch), device, precision), Path(output), device)


if __name__ == "__main__":
    main()
