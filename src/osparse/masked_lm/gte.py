"""The GTE masked-LM (``model_type`` "new", NewForMaskedLM) in torch, since a checkpoint's own code is never run.

A BERT with rotary positions and gated feed-forward units: OpenSearch's doc-v3-gte and Alibaba's gte-*-mlm-base. Layers
are normalised after the residual sum. Names of modules and settings are those of the published checkpoints, so that a
folder saved here is read by every program that reads those. Facts come from the published modelling file
(Alibaba-NLP/new-impl), text-embeddings-inference (gte.rs) and vLLM (bert_with_rope.py); "GLU Variants Improve
Transformer" (Shazeer 2020) and "RoFormer" (Su et al. 2021) give the formulas.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForMaskedLM, PreTrainedModel
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutput, MaskedLMOutput
from transformers.utils.generic import can_return_tuple

from osparse.masked_lm.architectures import Architecture, Transform, base_model, output_layer
from osparse.masked_lm.gte_config import NewConfig, frequencies, not_implemented

MASKED = -65504.0
"""Added to the attention scores of padding: the lowest number that every precision has; its softmax is exactly 0."""
Rotation = tuple[Tensor, Tensor]
"""Cosines and sines, (T, head size) each."""


def rotated(states: Tensor, rotation: Rotation) -> Tensor:
    """(B, heads, T, d) queries or keys turned by their positions: each i-th number with its (i + d/2)-th."""
    first, second = states.chunk(2, -1)
    cosines, sines = rotation
    return states * cosines.to(states.dtype) + torch.cat((-second, first), -1) * sines.to(states.dtype)


class NewEmbeddings(nn.Module):
    def __init__(self, config: NewConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.token_type_embeddings = (
            nn.Embedding(config.type_vocab_size, config.hidden_size) if config.type_vocab_size else None
        )
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, input_ids: Tensor) -> Tensor:
        """(B, T) -> (B, T, D); every token is of the first segment."""
        states = self.word_embeddings(input_ids)
        if self.token_type_embeddings is not None:
            states = states + self.token_type_embeddings.weight[0]
        embedded: Tensor = self.dropout(self.LayerNorm(states))
        return embedded


class NewAttention(nn.Module):
    def __init__(self, config: NewConfig) -> None:
        super().__init__()
        self.config, self.heads = config, config.num_attention_heads
        self.qkv_proj = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.o_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)

    def forward(self, states: Tensor, bias: Tensor, rotation: Rotation) -> Tensor:
        """(B, T, D), (B, 1, 1, T), rotation -> (B, T, D)."""
        batch, length, width = states.shape
        shape = (batch, length, 3, self.heads, width // self.heads)
        queries, keys, values = self.qkv_proj(states).view(shape).permute(2, 0, 3, 1, 4)  # (B, heads, T, d) each
        attend = self._sdpa if self.config._attn_implementation == "sdpa" else self._eager
        mixed = attend(rotated(queries, rotation), rotated(keys, rotation), values, bias)
        joined: Tensor = self.o_proj(mixed.transpose(1, 2).reshape(batch, length, width))
        return joined

    def _eager(self, queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        scores = queries @ keys.transpose(-1, -2) / math.sqrt(queries.shape[-1]) + bias
        mixed: Tensor = self.dropout(scores.softmax(-1)) @ values
        return mixed

    def _sdpa(self, queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        dropout = self.dropout.p if self.training else 0.0
        return nn.functional.scaled_dot_product_attention(
            queries, keys, values, attn_mask=bias.to(queries.dtype), dropout_p=dropout
        )


class NewGatedMLP(nn.Module):
    def __init__(self, config: NewConfig) -> None:
        super().__init__()
        self.up_gate_proj = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size)
        self.activation = ACT2FN[config.hidden_act]
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, states: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        up, gate = self.up_gate_proj(states).chunk(2, -1)
        lowered: Tensor = self.down_proj(self.dropout(self.activation(gate) * up))
        return lowered


class NewLayer(GradientCheckpointingLayer):  # type: ignore[no-untyped-call]  # transformers'
    def __init__(self, config: NewConfig) -> None:
        super().__init__()
        self.attention = NewAttention(config)
        self.mlp = NewGatedMLP(config)
        self.attn_ln = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp_ln = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, states: Tensor, bias: Tensor, rotation: Rotation) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        states = self.attn_ln(states + self.dropout(self.attention(states, bias, rotation)))
        normalised: Tensor = self.mlp_ln(states + self.dropout(self.mlp(states)))
        return normalised


class NewEncoder(nn.Module):
    def __init__(self, config: NewConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(NewLayer(config) for _ in range(config.num_hidden_layers))

    def forward(self, states: Tensor, bias: Tensor, rotation: Rotation) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        for layer in self.layer:
            states = layer(states, bias, rotation)
        return states


class NewPreTrainedModel(PreTrainedModel):  # type: ignore[no-untyped-call]  # transformers'
    config_class = NewConfig
    base_model_prefix = "new"
    supports_gradient_checkpointing = True
    _supports_sdpa = True


class NewModel(NewPreTrainedModel):  # type: ignore[no-untyped-call]  # transformers'
    def __init__(self, config: NewConfig) -> None:
        super().__init__(config)
        self.embeddings = NewEmbeddings(config)
        self.encoder = NewEncoder(config)
        self.frequencies: list[float] = frequencies(config).tolist()  # a buffer would be rounded in half precision
        self.post_init()  # type: ignore[no-untyped-call]  # transformers'

    def get_input_embeddings(self) -> nn.Embedding:
        return self.embeddings.word_embeddings

    def set_input_embeddings(self, value: Any) -> None:
        self.embeddings.word_embeddings = value

    @can_return_tuple  # type: ignore[untyped-decorator]  # transformers'
    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> BaseModelOutput:
        """(B, T) ids and mask -> ``last_hidden_state`` (B, T, D)."""
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        states = self.embeddings(input_ids)
        bias = (1.0 - mask[:, None, None, :].to(states.dtype)) * MASKED
        return BaseModelOutput(last_hidden_state=self.encoder(states, bias, self._rotation(input_ids)))

    def _rotation(self, input_ids: Tensor) -> Rotation:
        positions = torch.arange(input_ids.shape[1], dtype=torch.float32, device=input_ids.device)
        angles = positions[:, None] * torch.tensor(self.frequencies, dtype=torch.float32, device=input_ids.device)
        both = torch.cat((angles, angles), -1)
        return both.cos(), both.sin()


class NewLMPredictionHead(nn.Module):
    def __init__(self, config: NewConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = ACT2FN[config.hidden_act]
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)

    def transform(self, states: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D), one matrix product short of the logits."""
        transformed: Tensor = self.norm(self.activation(self.dense(states)))
        return transformed


class NewForMaskedLM(NewPreTrainedModel):  # type: ignore[no-untyped-call]  # transformers'
    _tied_weights_keys = {"lm_head.decoder.weight": "new.embeddings.word_embeddings.weight"}
    """A checkpoint holds the embeddings alone, and the decoder's bias."""

    def __init__(self, config: NewConfig) -> None:
        super().__init__(config)
        self.new = NewModel(config)
        self.lm_head = NewLMPredictionHead(config)
        self.post_init()  # type: ignore[no-untyped-call]  # transformers'

    def get_output_embeddings(self) -> Any:
        return self.lm_head.decoder

    def set_output_embeddings(self, new_embeddings: Any) -> None:
        self.lm_head.decoder = new_embeddings

    @can_return_tuple  # type: ignore[untyped-decorator]  # transformers'
    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> MaskedLMOutput:
        """(B, T) ids and mask -> ``logits`` (B, T, V)."""
        states = self.new(input_ids, attention_mask).last_hidden_state
        return MaskedLMOutput(logits=self.lm_head.decoder(self.lm_head.transform(states)))


def _transform(mlm: Any) -> Transform:
    transform: Transform = mlm.lm_head.transform
    return transform


GTE = Architecture(body=base_model, transform=_transform, decoder=output_layer, problems=not_implemented)
AutoConfig.register(NewConfig.model_type, NewConfig, exist_ok=True)
AutoModelForMaskedLM.register(NewConfig, NewForMaskedLM, exist_ok=True)
