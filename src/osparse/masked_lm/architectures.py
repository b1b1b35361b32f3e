"""Masked-LM heads taken apart: body, transform and decoder of each transformers architecture, by ``config.model_type``.

The logits of a masked-LM are ``decoder(transform(body(ids)))``; the sparse head needs the three apart. osparse's own
are listed in ``osparse.plugins.entry_points``; a package brings another one as an entry point of the group:

    [project.entry-points."osparse.architectures"]
    my-bert = "my_package.heads:MY_BERT"      # an osparse.masked_lm.architectures.Architecture
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from osparse.errors import InputError, ModelError
from osparse.formula.head import SERVER_MAX_TOKENS
from osparse.io.files import read_json
from osparse.plugins import entry_points

GROUP = entry_points.ARCHITECTURES
Transform = Callable[[Tensor], Tensor]


class MaskedLm(Protocol):
    """What osparse needs of any masked language model of transformers; an architecture knows the rest of its own."""

    config: Any
    """Its configuration, with a ``model_type``."""

    @property
    def base_model(self) -> nn.Module: ...

    def get_output_embeddings(self) -> nn.Module: ...


def _no_offset(config: Any) -> int:
    return 0


def _no_problems(config: Mapping[str, Any]) -> list[str]:
    return []


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """How the masked-LM ``mlm`` of one ``model_type`` comes apart.

    ``decoder(mlm)(transform(mlm)(states(mlm, ids, mask)))`` must equal ``mlm(ids, mask).logits``.
    """

    body: Callable[[Any], nn.Module]
    """mlm -> the encoder, which returns an object with ``last_hidden_state`` (B, T, D)."""
    transform: Callable[[Any], Transform]
    """mlm -> what lies between body and decoder: (B, T, D) -> (B, T, H)."""
    decoder: Callable[[Any], nn.Linear]
    """mlm -> the output layer: weight (V, H), tied or not, and bias (V,) or None."""
    position_offset: Callable[[Any], int] = _no_offset
    """config -> rows of the position table that no token uses: RoBERTa counts from pad_token_id + 1."""
    token_types: bool = False
    """Whether the body takes token_type_ids; they are zeros, as a document is one segment."""
    problems: Callable[[Mapping[str, Any]], list[str]] = _no_problems
    """config.json as read -> what of it the model class does not compute, each in words that name the setting."""

    def states(self, mlm: MaskedLm, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(B, T), (B, T) -> (B, T, D) last hidden states of the body."""
        segments = {"token_type_ids": torch.zeros_like(input_ids)} if self.token_types else {}
        states: Tensor = self.body(mlm)(
            input_ids=input_ids, attention_mask=attention_mask, **segments
        ).last_hidden_state
        return states

    def positions(self, config: Any) -> int:
        """Ids that a text may have, special ones included; the server's limit where the model names none."""
        return int(getattr(config, "max_position_embeddings", SERVER_MAX_TOKENS)) - self.position_offset(config)


def base_model(mlm: MaskedLm) -> nn.Module:
    """The encoder, where transformers knows it by itself."""
    return mlm.base_model


def output_layer(mlm: MaskedLm) -> nn.Linear:
    """The output layer, where transformers knows it by itself."""
    return cast(nn.Linear, mlm.get_output_embeddings())


def _bert_transform(mlm: Any) -> Transform:
    transform: nn.Module = mlm.cls.predictions.transform
    return transform


def _roberta_transform(mlm: Any) -> Transform:
    head = mlm.lm_head
    return lambda states: head.layer_norm(nn.functional.gelu(head.dense(states)))


def _distilbert_transform(mlm: Any) -> Transform:
    return lambda states: mlm.vocab_layer_norm(mlm.activation(mlm.vocab_transform(states)))


def _modernbert_transform(mlm: Any) -> Transform:
    transform: nn.Module = mlm.head
    return transform


def _electra_transform(mlm: Any) -> Transform:
    transform: nn.Module = mlm.generator_predictions
    return transform


def _after_padding(config: Any) -> int:
    return int(config.pad_token_id) + 1


BERT = Architecture(body=base_model, transform=_bert_transform, decoder=output_layer, token_types=True)
ROBERTA = Architecture(
    body=base_model,
    transform=_roberta_transform,
    decoder=output_layer,
    position_offset=_after_padding,
    token_types=True,
)
"""RoBERTa and XLM-RoBERTa."""
DISTILBERT = Architecture(body=base_model, transform=_distilbert_transform, decoder=output_layer)
MODERNBERT = Architecture(body=base_model, transform=_modernbert_transform, decoder=output_layer)
ELECTRA = Architecture(body=base_model, transform=_electra_transform, decoder=output_layer, token_types=True)
"""ELECTRA's generator, and anything trained with ElectraForMaskedLM."""


def known() -> list[str]:
    """Every ``model_type`` that osparse or an installed package has an architecture for."""
    return list(entry_points.claims(GROUP))


@cache
def find(model_type: str) -> Architecture:
    """The architecture of a ``config.model_type``; classes that transformers lacks are registered with it.

    Raises :class:`ModelError` where none is known, where two packages claim it, and where its entry point is broken.
    """
    try:
        architecture = entry_points.load(GROUP, model_type)
    except InputError as problem:
        raise ModelError(f"model_type {problem}") from problem
    if not isinstance(architecture, Architecture):
        raise ModelError(
            f"model_type {model_type!r} of the entry points {GROUP} is {type(architecture).__name__}, not an "
            "osparse.masked_lm.architectures.Architecture"
        )
    return architecture


def of_folder(folder: Path) -> Architecture:
    """The architecture of a folder's config.json, all of whose settings it computes.

    To be called before transformers loads the folder: it registers classes that transformers lacks. Code that the
    folder brings is never run.

    Raises:
        ModelError: config.json is not there or names no known ``model_type``, or has a setting that is not computed.
    """
    config = read_json(folder / "config.json", ModelError)
    if not isinstance(config, dict) or "model_type" not in config:
        raise ModelError(f"{folder}/config.json names no model_type; it is no transformers checkpoint")
    try:
        architecture = find(str(config["model_type"]))
    except ModelError as problem:
        own = " (it brings its own code, which osparse never runs)" if "auto_map" in config else ""
        raise ModelError(f"{folder}/config.json: {problem}{own}") from None
    problems = architecture.problems(config)
    if problems:
        raise ModelError(
            f"{folder}/config.json: {'; '.join(problems)}. The weights would be others; package another checkpoint, "
            "or remove a setting that changes no weight"
        )
    return architecture
