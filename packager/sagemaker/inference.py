"""Encode documents in SageMaker's PyTorch container: ``code/inference.py`` of a model.tar.gz made by osparse.

The container calls ``model_fn`` once and, for each request of ML Commons' connector, ``input_fn``, ``predict_fn`` and
``output_fn``. A request is {"texts": ["..."], "sparse_embedding_format": "WORD" or "TOKEN_ID"}, its answer a list with
one {token or id: weight} per text, in order. Only numpy, onnxruntime and tokenizers are used, not osparse.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

BATCH = 32
"""Texts in one run of the model, at most."""
STEP = 8
"""Ids; the lengths that texts are padded to are this far apart."""
PARTED = re.compile("\\$\u2060(\u2060|(?=\\{parameters\\.))")
"""The word joiner that an ingest pipeline of osparse puts into ``${parameters.``, which ML Commons would expand."""


class Encoder:
    """Texts -> the non-zeros of each."""

    def __init__(self, folder: Path) -> None:
        settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
        self.alone, self.limit = bool(settings["alone"]), int(settings["max_length"])
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(self.limit)
        self.tokenizer.no_padding()
        self.tokens = [str(self.tokenizer.id_to_token(i)) for i in range(self.tokenizer.get_vocab_size())]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # the container runs one worker process per core
        self.session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )

    def encode(self, texts: list[str]) -> list[list[tuple[int, float]]]:
        """(id, weight) of each text; only texts of about one length are padded together, so company changes nothing."""
        rows = [encoding.ids for encoding in self.tokenizer.encode_batch_fast([_readable(text) for text in texts])]
        groups: dict[int, list[int]] = {}
        for row, ids in enumerate(rows):
            groups.setdefault(self._width(len(ids)), []).append(row)
        vectors: list[list[tuple[int, float]]] = [[] for _ in texts]
        most = 1 if self.alone else BATCH
        for width, alike in groups.items():
            for start in range(0, len(alike), most):
                some = alike[start : start + most]
                for row, weights in zip(some, self._run([rows[i] for i in some], width), strict=True):
                    kept = np.flatnonzero(weights[: len(self.tokens)] > 0)
                    vectors[row] = list(zip(kept.tolist(), weights[kept].tolist(), strict=True))
        return vectors

    def _width(self, length: int) -> int:
        return length if self.alone else max(length, min(-(-length // STEP) * STEP, self.limit))

    def _run(self, rows: list[list[int]], width: int) -> Any:
        ids = np.zeros((len(rows), width), np.int64)
        mask = np.zeros_like(ids)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = row
            mask[number, : len(row)] = 1
        return self.session.run(None, {"input1.input_ids": ids, "input1.attention_mask": mask})[0]


def _readable(text: str) -> str:
    return PARTED.sub(r"$\1", text.encode("utf-8", "replace").decode())


def model_fn(model_dir: str) -> Encoder:
    """The encoder of the unpacked archive."""
    return Encoder(Path(model_dir))


def input_fn(body: str | bytes, content_type: str) -> dict[str, Any]:
    """The request; raises :class:`ValueError` without a word of the texts."""
    if content_type.partition(";")[0].strip() != "application/json":
        raise ValueError(f"the content type must be application/json, got {content_type}")
    request = json.loads(body)
    texts = request.get("texts") if isinstance(request, dict) else None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError('the body must be {"texts": ["...", ...], "sparse_embedding_format": "WORD"}')
    form = str(request.get("sparse_embedding_format") or "WORD").upper()
    if form not in ("WORD", "TOKEN_ID"):
        raise ValueError(f"sparse_embedding_format must be WORD or TOKEN_ID, got {form[:40]}")
    return {"texts": texts, "form": form}


def predict_fn(request: dict[str, Any], encoder: Encoder) -> list[dict[str, float]]:
    """{token or id: weight} of each text."""
    vectors = encoder.encode(request["texts"])
    if request["form"] == "TOKEN_ID":
        return [{str(i): weight for i, weight in vector} for vector in vectors]
    return [{encoder.tokens[i]: weight for i, weight in vector} for vector in vectors]


def output_fn(vectors: list[dict[str, float]], accept: str) -> str:
    """JSON, whatever is accepted: the connector reads nothing else."""
    return json.dumps(vectors, ensure_ascii=False, allow_nan=False)
