"""The encoder with the rows of some tokens: embeddings, decoder, lexical table, masked ids."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from osparse.encoders.lexical_table import LexicalTable
from osparse.encoders.torch_encoder import SparseEncoder
from osparse.errors import InputError
from osparse.formula.head import Head


def keep_rows(encoder: SparseEncoder, ids: Mapping[int, int]) -> SparseEncoder:
    """The encoder whose ids are the new ones of ``ids`` (old -> new, without gaps); layers are shared with the old.

    For the same tokens it gives the same weights before pruning, on every token that is left.

    Raises:
        InputError: the architecture counts positions from the padding token's id, and that would change; or it names
            no embedding table.
    """
    order = torch.tensor([old for old, _ in sorted(ids.items(), key=lambda pair: pair[1])])
    head = kept_head(encoder.head, ids)
    lexical = None if encoder.lexical is None else _table(encoder.lexical, ids, order)
    kept = type(encoder)(_masked_lm(encoder, ids, order), head, lexical)
    return kept.eval().requires_grad_(False)


def kept_head(head: Head, ids: Mapping[int, int]) -> Head:
    """The head under new ids; rows that no token has are gone."""
    return replace(head, masked_ids=tuple(sorted(ids[i] for i in head.masked_ids if i in ids)))


def padding_id(encoder: SparseEncoder) -> int | None:
    """Id of the padding token, as config.json says."""
    padding = getattr(encoder.mlm.config, "pad_token_id", None)
    return padding if isinstance(padding, int) and padding >= 0 else None


def _masked_lm(encoder: SparseEncoder, ids: Mapping[int, int], order: Tensor) -> Any:
    """A copy of the masked-LM that shares every parameter but those with a row per token; tied ones stay tied."""
    embedding = _embedding(encoder.mlm)
    decoder = encoder.decoder
    padding = padding_id(encoder)
    dealt = None if padding is None else ids.get(padding)
    if dealt != padding and encoder.architecture.position_offset(encoder.mlm.config):
        raise InputError(
            f"the padding token has id {padding}, from which {encoder.mlm.config.model_type} counts its positions, and "
            "it would have another one; ask for a larger `vocabulary`"
        )
    copies: dict[int, Any] = {id(parameter): parameter for parameter in encoder.mlm.parameters()}
    for parameter in (embedding.weight, decoder.weight, decoder.bias):
        if parameter is not None:
            copies[id(parameter)] = nn.Parameter(parameter.detach()[order].clone(), requires_grad=False)
    mlm = copy.deepcopy(encoder.mlm, copies)
    _embedding(mlm).num_embeddings = encoder.architecture.decoder(mlm).out_features = len(order)
    if embedding.padding_idx is not None:
        _embedding(mlm).padding_idx = ids.get(embedding.padding_idx)
    mlm.config.vocab_size, mlm.config.pad_token_id = len(order), dealt
    return mlm


def _embedding(mlm: Any) -> nn.Embedding:
    embedding = mlm.get_input_embeddings() if hasattr(mlm, "get_input_embeddings") else None
    if not isinstance(embedding, nn.Embedding):
        raise InputError(
            f"the architecture {mlm.config.model_type} names no embedding table (get_input_embeddings), so that its "
            "vocabulary cannot be trimmed; leave `vocabulary` out"
        )
    return embedding


def _table(table: LexicalTable, ids: Mapping[int, int], order: Tensor) -> LexicalTable:
    """Entries for tokens that are gone weigh nothing."""
    dealt = torch.full((len(table.targets),), -1)
    dealt[order] = torch.arange(len(order))
    targets = dealt[table.targets[order]]
    weights = table.weights[order] * (targets >= 0)
    return LexicalTable(targets.clamp(min=0), weights, k1=table.k1, b=table.b, average=table.average)
