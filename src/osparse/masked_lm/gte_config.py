"""config.json of a GTE masked-LM (``model_type`` "new"), and what of one osparse.masked_lm.gte does not compute."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import PretrainedConfig
from transformers.activations import ACT2FN


class NewConfig(PretrainedConfig):  # type: ignore[no-untyped-call]  # transformers' __init_subclass__
    """config.json of a GTE checkpoint; the defaults are the published ones."""

    model_type = "new"
    rope_scaling = None  # transformers 5 has a property of this name, which rewrites what it is given

    def __init__(
        self,
        vocab_size: int = 30528,
        hidden_size: int = 768,
        num_hidden_layers: int = 12,
        num_attention_heads: int = 12,
        intermediate_size: int = 3072,
        hidden_act: str = "gelu",
        hidden_dropout_prob: float = 0.1,
        attention_probs_dropout_prob: float = 0.0,
        max_position_embeddings: int = 2048,
        type_vocab_size: int = 1,
        initializer_range: float = 0.02,
        layer_norm_eps: float = 1e-12,
        pad_token_id: int | None = None,
        rope_theta: float = 10000.0,
        rope_scaling: dict[str, Any] | None = None,
        rope_parameters: dict[str, Any] | None = None,
        tie_word_embeddings: bool = True,
        **kwargs: Any,
    ) -> None:
        """``rope_parameters``: where transformers 5 keeps both settings of the rotation."""
        super().__init__(**kwargs)
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size
        self.hidden_act = hidden_act
        self.hidden_dropout_prob = hidden_dropout_prob
        self.attention_probs_dropout_prob = attention_probs_dropout_prob
        self.max_position_embeddings = max_position_embeddings
        self.type_vocab_size = type_vocab_size
        self.initializer_range = initializer_range
        self.layer_norm_eps = layer_norm_eps
        self.pad_token_id = pad_token_id
        scaling = rope_scaling or rope_parameters or {}
        self.rope_theta = scaling.get("rope_theta", rope_theta)
        self.rope_scaling = {"type": "ntk", "factor": scaling["factor"]} if _kind(scaling) == "ntk" else None
        self.tie_word_embeddings = tie_word_embeddings
        for name, value in FIXED.items():
            setattr(self, name, value)


FIXED = {
    "position_embedding_type": "rope",
    "layer_norm_type": "layer_norm",
    "pack_qkv": True,
    "logn_attention_scale": False,
}
"""Settings that have one value here; every published masked-LM has it."""
EMPTY = frozenset("is_encoder_decoder tie_encoder_decoder is_decoder add_cross_attention pruned_heads".split())
"""Settings of transformers itself that would change the layers; false or empty in every encoder."""
WITHOUT_EFFECT = frozenset(
    (
        # how the published code computes the same numbers
        "unpad_inputs use_memory_efficient_attention logn_attention_clip1 chunk_size_feed_forward "
        # other heads, loading, the tokenizer
        "classifier_dropout num_labels finetuning_task task_specific_params cross_attention_hidden_size auto_map "
        "torch_dtype use_bfloat16 torchscript tf_legacy_loss tokenizer_class use_cache "
        # what a call returns, and how text is generated: transformers 4 writes all of these into a config.json
        "return_dict return_dict_in_generate output_scores output_attentions output_hidden_states prefix max_length "
        "min_length do_sample early_stopping num_beams num_beam_groups diversity_penalty temperature top_k top_p "
        "typical_p repetition_penalty length_penalty no_repeat_ngram_size encoder_no_repeat_ngram_size bad_words_ids "
        "num_return_sequences remove_invalid_values exponential_decay_length_penalty suppress_tokens "
        "begin_suppress_tokens"
    ).split()
)
"""Settings that change no logit of a masked-LM, whatever their value."""
NAMED = frozenset(inspect.signature(NewConfig.__init__).parameters) - {"self", "kwargs"}
GENERAL = frozenset(PretrainedConfig().to_dict())
"""What transformers puts into every config.json."""


def _kind(scaling: Mapping[str, Any]) -> str:
    """``default`` or ``ntk``, or another that is not implemented."""
    return str(scaling.get("type", scaling.get("rope_type", "default")))


def not_implemented(config: Mapping[str, Any]) -> list[str]:
    """What of a config.json this file does not compute as the published code does, by name; [] if it does all of it."""
    problems = [
        f"{name} is {config[name]!r}, osparse computes {value!r}"
        for name, value in FIXED.items()
        if config.get(name, value) != value
    ]
    problems += [
        f"{name} is {config[name]!r}, osparse computes an encoder without it"
        for name in sorted(EMPTY)
        if config.get(name)
    ]
    problems += [f"{name} is no setting that osparse knows" for name in config if not _known(name)]
    return [*problems, *_sizes(config), *_rotary("rope_scaling", config), *_rotary("rope_parameters", config)]


def _known(name: str) -> bool:
    return (
        name.startswith("_")
        or name.endswith("_token_id")
        or any(name in names for names in (NAMED, FIXED, EMPTY, WITHOUT_EFFECT, GENERAL))
    )


def _sizes(config: Mapping[str, Any]) -> list[str]:
    activation = config.get("hidden_act", "gelu")
    width, heads = config.get("hidden_size", 768), config.get("num_attention_heads", 12)
    problems = []
    if not isinstance(activation, str) or activation not in ACT2FN:
        problems.append(f"hidden_act is {activation!r}, which transformers does not have")
    if not (isinstance(width, int) and isinstance(heads, int) and heads > 0 and width % (2 * heads) == 0):
        problems.append(f"hidden_size {width!r} is no even multiple of num_attention_heads {heads!r}")
    return problems


def _rotary(name: str, config: Mapping[str, Any]) -> list[str]:
    """What of ``rope_scaling`` or ``rope_parameters`` is not implemented."""
    scaling = config.get(name) or {}
    computed = "osparse computes none, or type 'ntk' with a factor of at least 1 and nothing else"
    if not isinstance(scaling, Mapping):
        return [f"{name} is {scaling!r}; {computed}"]
    kind, factor = _kind(scaling), scaling.get("factor")
    extra = set(scaling) - {"type", "rope_type", "rope_theta", "factor", "mixed_b"}
    theta = scaling.get("rope_theta", config.get("rope_theta", 1.0))
    scaled = kind == "ntk" and isinstance(factor, (int, float)) and factor >= 1
    if extra or scaling.get("mixed_b") is not None or not (scaled or kind == "default" and factor is None):
        return [f"{name} is {dict(scaling)!r}; {computed}"]
    if not (isinstance(theta, (int, float)) and theta > 0):
        return [f"rope_theta is {theta!r}; it must be a number above 0"]
    return []


def frequencies(config: NewConfig) -> Tensor:
    """(head size / 2,) radians per position, fp32: theta ** (-2i / d), with NTK scaling where the checkpoint has it.

    Scaling by ``factor`` multiplies theta by it and divides every frequency by factor ** (2 / d).
    """
    size = config.hidden_size // config.num_attention_heads
    factor = 1.0 if config.rope_scaling is None else float(config.rope_scaling["factor"])
    exponents = torch.arange(0, size, 2, dtype=torch.float32, device="cpu") / size
    turns: Tensor = 1.0 / (config.rope_theta * factor) ** exponents / factor ** (2 / size)
    return turns
