"""A dense bi-encoder of transformers, as a teacher: texts -> embeddings. Imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from osparse.errors import ModelError
from osparse.formula.head import SERVER_MAX_TOKENS
from osparse.io.files import read_json

BATCH = 32
"""Texts encoded at a time."""


class DenseEncoder:
    """Pooled and normalised as the folder's sentence-transformers files say; without them the mean, not normalised."""

    def __init__(self, path: Path, device: torch.device | str = "cpu") -> None:
        """Raises :class:`ModelError` if the folder cannot be read, or pools in a way that is not known here."""
        from transformers import AutoModel, AutoTokenizer

        try:
            self.tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
            model: Any = AutoModel.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        except (OSError, ValueError, KeyError) as problem:
            first = str(problem).strip().partition("\n")[0]
            raise ModelError(f"{path} is no Hugging Face encoder: {first}; give the folder of a bi-encoder") from None
        self.model = model.float().to(device).eval()
        self.pooling = _pooling(path)
        self.normalised = _normalised(path)
        self.length = min(SERVER_MAX_TOKENS, int(self.tokenizer.model_max_length))
        self.size = int(self.model.config.hidden_size)
        self.device = device

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(n, H) embeddings; the similarity of two is their dot product."""
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        vectors = np.zeros((len(texts), self.size), dtype=np.float32)
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            vectors[rows] = self._encode([texts[i] for i in rows])
        return vectors

    def _encode(self, texts: list[str]) -> NDArray[np.float32]:
        inputs = self.tokenizer(
            texts, padding=True, truncation=True, max_length=self.length, return_tensors="pt"
        ).to(self.device)  # fmt: skip
        with torch.inference_mode():
            states = self.model(**inputs).last_hidden_state.float()
        vectors = pooled(states, inputs["attention_mask"], self.pooling)
        if self.normalised:
            vectors = torch.nn.functional.normalize(vectors, dim=1)
        return np.asarray(vectors.cpu().numpy(), dtype=np.float32)


def pooled(states: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """(B, T, H) states and (B, T) mask -> (B, H): the first token's state, or the mean of the unmasked."""
    if pooling == "cls":
        return states[:, 0]
    shown = mask[:, :, None].float()
    return (states * shown).sum(1) / shown.sum(1).clamp(min=1)


def _normalised(path: Path) -> bool:
    """By modules.json: the module's own folder is empty, and a hub that keeps files alone does not bring it."""
    modules = path / "modules.json"
    raw = read_json(modules) if modules.is_file() else []
    types = [str(module.get("type")) for module in raw if isinstance(module, dict)] if isinstance(raw, list) else []
    return any(name.endswith(".Normalize") for name in types) or (path / "2_Normalize").is_dir()


def _pooling(path: Path) -> str:
    config = path / "1_Pooling" / "config.json"
    if not config.is_file():
        return "mean"
    raw = read_json(config)
    modes = {"cls": "pooling_mode_cls_token", "mean": "pooling_mode_mean_tokens"}
    chosen = [name for name, key in modes.items() if isinstance(raw, dict) and raw.get(key)]
    if len(chosen) != 1:
        raise ModelError(f"{config}: the pooling must be cls or mean; osparse knows no other")
    return chosen[0]
