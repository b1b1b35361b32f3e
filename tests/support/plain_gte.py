"""The GTE masked-LM written a second time, in numpy and double precision, and folders as they are published.

From the papers: rotary positions (RoFormer, equation 34), gated units (Shazeer 2020), post-norm layers as BERT's. Weights
are read by the names that the published checkpoints have; nothing of osparse is used.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

Array = NDArray[np.float64]
Weights = dict[str, NDArray[np.float32]]
DOC_V3_GTE: dict[str, Any] = {
    "architectures": ["NewForMaskedLM"], "model_type": "new", "vocab_size": 408, "hidden_size": 32,
    "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48, "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.0, "max_position_embeddings": 8192,
    "type_vocab_size": 0, "initializer_range": 0.02, "layer_norm_type": "layer_norm", "layer_norm_eps": 1e-12,
    "pad_token_id": 0, "position_embedding_type": "rope", "rope_theta": 500000, "rope_scaling": None,
    "classifier_dropout": None, "pack_qkv": True, "unpad_inputs": False, "use_memory_efficient_attention": False,
    "logn_attention_scale": False, "logn_attention_clip1": False, "torch_dtype": "float32",
    "transformers_version": "4.50.3",
    "auto_map": {"AutoConfig": "configuration.NewConfig", "AutoModelForMaskedLM": "modeling.NewForMaskedLM"},
}  # fmt: skip
"""A published config.json with a small width: head size 8."""


def shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Every tensor of a checkpoint; the decoder's matrix is the embeddings and not among them."""
    rows, width, inner = config["vocab_size"], config["hidden_size"], config["intermediate_size"]
    found: dict[str, tuple[int, ...]] = {"new.embeddings.word_embeddings.weight": (rows, width)}
    if config["type_vocab_size"]:
        found["new.embeddings.token_type_embeddings.weight"] = (config["type_vocab_size"], width)
    linear = {"attention.qkv_proj": (3 * width, width), "attention.o_proj": (width, width)}
    for number in range(config["num_hidden_layers"]):
        layer = f"new.encoder.layer.{number}"
        for name, shape in (linear | {"mlp.down_proj": (width, inner)}).items():
            found |= {f"{layer}.{name}.weight": shape, f"{layer}.{name}.bias": shape[:1]}
        found[f"{layer}.mlp.up_gate_proj.weight"] = (2 * inner, width)
        found |= {f"{layer}.{norm}.{part}": (width,) for norm in ("attn_ln", "mlp_ln") for part in ("weight", "bias")}
    found |= {
        f"{name}.{part}": (width,)
        for name in ("new.embeddings.LayerNorm", "lm_head.norm")
        for part in ("weight", "bias")
    }
    return found | {
        "lm_head.dense.weight": (width, width),
        "lm_head.dense.bias": (width,),
        "lm_head.decoder.bias": (rows,),
    }


def random_weights(config: dict[str, Any], seed: int = 0) -> Weights:
    """Some of the vocabulary stays without weight, whatever the text."""
    random = np.random.default_rng(seed)
    weights = {name: random.normal(0, 0.15, shape).astype(np.float32) for name, shape in shapes(config).items()}
    for name in weights:
        if "norm.weight" in name or "ln.weight" in name or "LayerNorm.weight" in name:
            weights[name] += 1
    weights["lm_head.decoder.bias"] -= 0.7
    return weights


def write_folder(folder: Path, config: dict[str, Any], weights: Weights) -> Path:
    """config.json and model.safetensors; code that would be seen if it was run."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    for name in ("configuration", "modeling"):
        (folder / f"{name}.py").write_text(f"open({str(folder / 'ran')!r}, 'w').close()\n", encoding="utf-8")
    return folder


def normalised(states: Array, weights: Weights, name: str, eps: float) -> Array:
    centred = states - states.mean(-1, keepdims=True)
    scaled: Array = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps)
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def projected(states: Array, weights: Weights, name: str) -> Array:
    product = states @ weights[f"{name}.weight"].astype(np.float64).T
    return product + weights[f"{name}.bias"] if f"{name}.bias" in weights else product


def activated(states: Array, name: str) -> Array:
    if name == "gelu":
        below: Array = (1 + np.vectorize(math.erf)(states / math.sqrt(2))) / 2
        return states * below
    return states / (1 + np.exp(-states)) if name == "silu" else np.maximum(states, 0)


def turned(states: Array, position: int, config: dict[str, Any]) -> Array:
    """(heads, d) of one token: the pairs (i, i + d/2) turned by an angle each, one pair at a time."""
    size = states.shape[-1]
    scaling = config["rope_scaling"] or {"factor": 1.0}
    found = states.copy()
    for i in range(size // 2):
        theta = (config["rope_theta"] * scaling["factor"]) ** (-2 * i / size) / scaling["factor"] ** (2 / size)
        cosine, sine = math.cos(position * theta), math.sin(position * theta)
        a, b = states[:, i], states[:, i + size // 2]
        found[:, i], found[:, i + size // 2] = a * cosine - b * sine, b * cosine + a * sine
    return found


def attended(states: Array, weights: Weights, name: str, config: dict[str, Any]) -> Array:
    """(T, D) of one text without padding -> (T, D)."""
    heads, (length, width) = config["num_attention_heads"], states.shape
    parts = np.split(projected(states, weights, f"{name}.qkv_proj"), 3, -1)
    queries, keys, values = (part.reshape(length, heads, width // heads) for part in parts)
    queries = np.stack([turned(token, n, config) for n, token in enumerate(queries)])
    keys = np.stack([turned(token, n, config) for n, token in enumerate(keys)])
    mixed = np.empty_like(values)
    for head in range(heads):
        scores = np.exp(queries[:, head] @ keys[:, head].T / math.sqrt(width // heads))
        mixed[:, head] = scores / scores.sum(-1, keepdims=True) @ values[:, head]
    return projected(mixed.reshape(length, width), weights, f"{name}.o_proj")


def logits(ids: list[int], weights: Weights, config: dict[str, Any]) -> Array:
    """Ids of one text, special ones included -> (T, V)."""
    eps, act = config["layer_norm_eps"], config["hidden_act"]
    embeddings = weights["new.embeddings.word_embeddings.weight"].astype(np.float64)
    states = embeddings[ids]
    if config["type_vocab_size"]:
        states = states + weights["new.embeddings.token_type_embeddings.weight"][0]
    states = normalised(states, weights, "new.embeddings.LayerNorm", eps)
    for number in range(config["num_hidden_layers"]):
        layer = f"new.encoder.layer.{number}"
        states = normalised(
            states + attended(states, weights, f"{layer}.attention", config), weights, f"{layer}.attn_ln", eps
        )
        up, gate = np.split(projected(states, weights, f"{layer}.mlp.up_gate_proj"), 2, -1)
        lowered = projected(activated(gate, act) * up, weights, f"{layer}.mlp.down_proj")
        states = normalised(states + lowered, weights, f"{layer}.mlp_ln", eps)
    states = normalised(activated(projected(states, weights, "lm_head.dense"), act), weights, "lm_head.norm", eps)
    return states @ embeddings.T + weights["lm_head.decoder.bias"]
