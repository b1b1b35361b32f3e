"""What ML Commons does with an uploaded zip: load it, refuse it with its own words, and run it.

The rules and texts were measured on OpenSearch 3.4.0 (libtorch 2.5.1, ONNX Runtime 1.16.3, tokenizers 0.20.3); here the
zip runs on this machine's torch or onnxruntime.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from typing import Any

import numpy as np
from tokenizers import Tokenizer

SERVER_LENGTH = 512
FORMATS = {"TORCH_SCRIPT": ".pt", "ONNX": ".onnx"}


class LoadError(Exception):
    """The reason a deploy task fails with."""


class InferenceError(Exception):
    """The cause a predict fails with."""


def assemble(document: dict[str, Any], chunks: dict[int, bytes], model_id: str) -> bytes:
    """The uploaded file again, or the reason it cannot be made."""
    total = document["total_chunks"]
    missing = [n for n in range(total) if n not in chunks]
    if missing:
        told = missing[0] == total - 1 or len(missing) == total
        raise LoadError(f"Fail to find model chunk {model_id}_{missing[0]}" if told else "Failed to deploy model")
    data = b"".join(chunks[n] for n in range(total))
    if hashlib.sha256(data).hexdigest() != document["model_content_hash_value"]:
        raise LoadError("model content changed")
    return data


class Runtime:
    """A deployed model."""

    def __init__(self, document: dict[str, Any], data: bytes, model_id: str) -> None:
        try:
            self.zip = zipfile.ZipFile(io.BytesIO(data))
        except zipfile.BadZipFile:
            raise LoadError("Archive is not a ZIP archive") from None
        name = document["name"]
        if ".." in name.split("/"):
            raise LoadError("Bad zip entry")
        folder = f"<data>/ml_cache/models_cache/models/{model_id}/{document['model_version']}/{name}"
        self.encodes = document["algorithm"] == "SPARSE_ENCODING"
        self.idf: dict[str, float | None] | None = {}
        self.session: Any = None
        self.module: Any = None
        if self.encodes:
            self._load_model(document["model_format"], name, folder)
        self._load_tokenizer(folder)
        if self.encodes:
            weights = self._forward("warm up sentence")
            bad = weights[~np.isfinite(weights)]
            if bad.size:
                word = "NaN" if np.isnan(bad[0]) else "Infinity" if bad[0] > 0 else "-Infinity"
                raise LoadError(
                    f"{word} is not a valid double value as per JSON specification. To override this behavior, use "
                    "GsonBuilder.serializeSpecialFloatingPointValues() method."
                )
        elif "idf.json" in self.zip.namelist():
            self.idf = _read_idf(self.zip.read("idf.json"))

    def predict(self, text: Any, form: str) -> dict[str, float | None]:
        """{token or id: weight}, as the answer's ``response`` holds it."""
        if text is None:
            cause = 'Cannot invoke "String.getBytes(java.nio.charset.Charset)" because "text" is null'
            raise InferenceError(cause if self.encodes else "text cannot be null")
        text = text if isinstance(text, str) else json.dumps(text)
        return self._encode(text, form) if self.encodes else self._tokenize(text, form)

    @property
    def output_name(self) -> str | None:
        """TorchScript answers carry the output's name, ONNX and tokenizer answers do not."""
        return "output" if self.encodes and self.session is None else None

    def _load_model(self, model_format: str, name: str, folder: str) -> None:
        suffix = FORMATS[model_format]
        found = [n for n in self.zip.namelist() if n.endswith(suffix) and "/" not in n]
        if len([n for n in self.zip.namelist() if n.endswith((".pt", ".onnx"))]) > 1:
            raise LoadError("found multiple models")
        if not found:
            raise LoadError(f"{name}{suffix} file not found in: {folder}")
        data = self.zip.read(found[0])
        if model_format == "ONNX":
            self._load_onnx(data)
        else:
            self._load_torchscript(data)

    def _load_onnx(self, data: bytes) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        wanted = [i.name for i in self.session.get_inputs()]
        if len(wanted) != 2:
            raise LoadError(f"Input mismatch, looking for: [{', '.join(wanted)}]")
        for name in ("input1.input_ids", "input1.attention_mask"):
            if name not in wanted:
                raise LoadError(f"Invalid input tensor name: {name}")

    def _load_torchscript(self, data: bytes) -> None:
        if not zipfile.is_zipfile(io.BytesIO(data)):
            raise LoadError("PytorchStreamReader failed reading zip archive: failed finding central directory")
        import warnings

        import torch

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.jit is deprecated, and what the server runs
            self.module = torch.jit.load(  # type: ignore[no-untyped-call]
                io.BytesIO(data), map_location="cpu"
            )

    def _load_tokenizer(self, folder: str) -> None:
        if "tokenizer.json" not in self.zip.namelist():
            raise LoadError(f"Tokenizer file not exits: {folder}/tokenizer.json")
        try:
            self.tokenizer = Tokenizer.from_str(self.zip.read("tokenizer.json").decode())
        except Exception as problem:  # noqa: BLE001 - tokenizers raises bare Exception
            raise LoadError(str(problem)) from None
        cut = self.tokenizer.truncation or {}
        length = min(cut.get("max_length") or SERVER_LENGTH, SERVER_LENGTH)
        self.tokenizer.enable_truncation(length, direction=cut.get("direction", "right").lower())
        self.special = {i for i, t in self.tokenizer.get_added_tokens_decoder().items() if t.special}

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer.encode(text.encode("utf-8", "replace").decode()).ids

    def _forward(self, text: str) -> np.ndarray:
        ids = np.array([self._ids(text)], dtype=np.int64)
        if self.session is not None:
            feed = {"input1.input_ids": ids, "input1.attention_mask": np.ones_like(ids)}
            run: np.ndarray = self.session.run(None, feed)[0][0]
            return run
        import torch

        with torch.no_grad():
            ready = torch.from_numpy(ids)
            output = self.module({"input_ids": ready, "attention_mask": torch.ones_like(ready)})
        output = next(iter(output.values())) if isinstance(output, dict) else output
        return np.asarray(output.numpy()[0])

    def _encode(self, text: str, form: str) -> dict[str, float | None]:
        weights = self._forward(text)
        result: dict[str, float | None] = {}
        for i in np.flatnonzero(weights):
            key = str(i) if form == "TOKEN_ID" else self._decode(int(i))
            if key:
                result[key] = float(str(np.float32(weights[i])))
        return result

    def _tokenize(self, text: str, form: str) -> dict[str, float | None]:
        if self.idf is None:
            raise InferenceError(
                'Cannot invoke "java.util.Map.getOrDefault(Object, Object)" because "this.idf" is null'
            )
        result = {}
        for i in dict.fromkeys(self._ids(text)):
            word = self._decode(i)
            if i not in self.special and word:
                result[str(i) if form == "TOKEN_ID" else word] = self.idf.get(word, 1.0)
        return result

    def _decode(self, i: int) -> str:
        """One id alone, special tokens skipped: equal strings overwrite each other, as on the server."""
        return self.tokenizer.decode([i], skip_special_tokens=True)


def _read_idf(data: bytes) -> dict[str, float | None] | None:
    """Gson's reading: strings that are numbers count, null stays, an empty file gives no table at all."""
    text = data.decode()
    if not text.strip():
        return None
    help_text = "\nSee https://github.com/google/gson/blob/main/Troubleshooting.md#unexpected-json-structure"
    try:
        raw = json.loads(text)
    except json.JSONDecodeError:
        raise LoadError(f"Expected BEGIN_OBJECT but was STRING at line 1 column 1 path ${help_text}") from None
    if isinstance(raw, list):
        raise LoadError(f"Expected BEGIN_ARRAY but was NUMBER at line 1 column 3 path $[0]{help_text}")
    for value in raw.values():
        if isinstance(value, dict):
            raise LoadError(f"Expected a double but was BEGIN_OBJECT at line 1 column 9 path $.{help_text}")
    return {token: None if value is None else float(value) for token, value in raw.items()}
