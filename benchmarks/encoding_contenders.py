"""The contenders of benchmarks/encoding.py, each run as a child in its own environment; see there."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from child import serve

COMPARED = 64
"""Texts whose vectors are compared."""
Vectors = list[dict[str, float]]


def osparse(model: str, texts: list[str], batch: int) -> Callable[[], Vectors]:
    from osparse.encoders.torch_encoder import TextEncoder

    encoder = TextEncoder.open(model)
    encoder.encode(texts[:batch])
    return lambda: encoder.encode(texts, batch)[:COMPARED]


def osparse_plain(model: str, texts: list[str], batch: int) -> Callable[[], Vectors]:
    """Without the int8 screen."""
    from osparse.encoders import torch_encoder as encoder

    encoder.pays = lambda weight: False
    return osparse(model, texts, batch)


def sentence_transformers(model: str, texts: list[str], batch: int) -> Callable[[], Vectors]:
    from sentence_transformers import SparseEncoder
    from sentence_transformers.sparse_encoder.modules import SpladePooling, Transformer

    encoder: Any = SparseEncoder(
        modules=[Transformer(model, transformer_task="fill-mask"), SpladePooling("max")], device="cpu"
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


def opensearch_py_ml(model: str, texts: list[str], batch: int) -> Callable[[], Vectors]:
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
    contender, model, texts, batch, threads, output = sys.argv[1:]
    import torch

    torch.set_num_threads(int(threads))
    serve(globals()[contender](model, json.loads(Path(texts).read_text(encoding="utf-8")), int(batch)), Path(output))


if __name__ == "__main__":
    main()
