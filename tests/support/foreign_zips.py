"""Zips as other tools write them, made with torch and zipfile alone: nothing of osparse's own packaging."""

from __future__ import annotations

import hashlib
import io
import json
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

SERVER_LENGTH = 64


class Encoder(torch.nn.Module):
    """{"input_ids", "attention_mask"} -> {"output": (B, V)}: SPLADE's weights, special tokens without any."""

    def __init__(self, folder: Path, damped: bool) -> None:
        super().__init__()
        self.mlm = AutoModelForMaskedLM.from_pretrained(folder, attn_implementation="eager").eval()
        self.special = AutoTokenizer.from_pretrained(folder).all_special_ids
        self.damped = damped

    def forward(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        logits = self.mlm(input_ids=features["input_ids"], attention_mask=features["attention_mask"])[0]
        best = (logits * features["attention_mask"][..., None]).amax(1)
        weights = torch.log(1 + torch.relu(best))
        weights = torch.log(1 + weights) if self.damped else weights
        weights[:, self.special] = 0
        return {"output": weights}


def script(folder: Path, damped: bool = False) -> bytes:
    """A traced .pt file."""
    ids = torch.tensor([[2, 7, 8, 3]])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    return traced(Encoder(folder, damped), inputs)


def traced(module: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> bytes:
    """The .pt file of a module, traced on one input."""
    jit: Any = torch.jit
    data = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls tracing deprecated
        jit.save(jit.trace(module, inputs, strict=False, check_trace=False), data)
    return data.getvalue()


def tokenizer_json(folder: Path, length: int = SERVER_LENGTH) -> bytes:
    raw = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    raw["truncation"] = {"direction": "Right", "max_length": length, "strategy": "LongestFirst", "stride": 0}
    return json.dumps(raw).encode()


def zipped(members: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return data.getvalue()


def encoder_zip(checkpoint: Path, damped: bool = False) -> bytes:
    members = {
        "splade.pt": script(checkpoint, damped),
        "tokenizer.json": tokenizer_json(checkpoint),
        "LICENSE": b"text",
    }
    return zipped(members)


def tokenizer_zip(checkpoint: Path, weights: dict[str, float] | None = None) -> bytes:
    idf = json.dumps(weights).encode() if weights is not None else (checkpoint / "idf.json").read_bytes()
    return zipped({"tokenizer.json": tokenizer_json(checkpoint, 512), "idf.json": idf})


def export(checkpoint: Path, folder: Path, damped: bool = False) -> Path:
    """A folder as opensearch-py-ml leaves it: the zip, the .pt file, the tokenizer and the model's description."""
    folder.mkdir()
    data = encoder_zip(checkpoint, damped)
    (folder / "splade.zip").write_bytes(data)
    (folder / "tokenizer.json").write_bytes(tokenizer_json(checkpoint))
    config = {
        "name": "splade", "version": "1.0.0", "model_format": "TORCH_SCRIPT", "function_name": "SPARSE_ENCODING",
        "model_content_size_in_bytes": len(data), "model_content_hash_value": hashlib.sha256(data).hexdigest(),
    }  # fmt: skip
    (folder / "ml-commons_model_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder
