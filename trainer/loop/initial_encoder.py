"""The encoder a run starts from: a new BERT, a checkpoint, or what a function of the user's makes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import BertConfig, BertForMaskedLM

from osparse.encoders.lexical_table import LexicalTable, read_table
from osparse.encoders.torch_encoder import SparseEncoder, positions
from osparse.errors import ConfigError, ModelError
from osparse.formula.head import SERVER_MAX_TOKENS, Head
from osparse.formula.lexicon import Lexicon
from osparse.masked_lm.load import load_masked_lm
from osparse.plugins.dotted_paths import load_dotted
from osparse.trainer.config.run_config import Ranking, TrainConfig


def new_encoder(config: TrainConfig, lexicon: Lexicon) -> SparseEncoder:
    """The encoder a run starts from; with the parameter ``log_idf`` (V,) where a stage learns query weights.

    Raises :class:`ConfigError` if a checkpoint is not whole, or has too few vocabulary rows or positions.
    """
    if config.encoder.start is not None:
        mlm = _load_start(config, config.encoder.start, lexicon)
    elif config.encoder.factory is not None:
        mlm = _call_factory(config, config.encoder.factory, lexicon)
    else:
        mlm = _new_bert(config, len(lexicon.tokens))
    rows = mlm.get_output_embeddings().weight.shape[0]
    unused = [i for i, token in enumerate(lexicon.tokens) if not token or token.startswith("[unused")]
    masked = sorted({*lexicon.special_ids, *unused, *range(len(lexicon.tokens), rows)})
    shape = {key: value for key, value in asdict(config.head).items() if key != "nonzeros"}
    head = Head(**{**shape, "masked_ids": tuple(masked)})
    encoder = SparseEncoder(mlm, head, _table_of_start(config, rows))
    if any(isinstance(stage, Ranking) and stage.idf_lr is not None for stage in config.stages):
        encoder.register_parameter("log_idf", nn.Parameter(torch.from_numpy(lexicon.idf).float().log()))
    return encoder


def _table_of_start(config: TrainConfig, rows: int) -> LexicalTable | None:
    """The lexical table of ``encoder.start``, if it has one."""
    try:
        return None if config.encoder.start is None else read_table(config.encoder.start, rows)
    except ModelError as problem:
        raise ConfigError("encoder.start", [str(problem)]) from None


def _new_bert(config: TrainConfig, rows: int) -> Any:
    size = config.encoder
    shape = BertConfig(
        vocab_size=rows, hidden_size=size.hidden, num_hidden_layers=size.layers, num_attention_heads=size.heads,
        intermediate_size=size.feed_forward, max_position_embeddings=SERVER_MAX_TOKENS,
        hidden_dropout_prob=size.dropout, attention_probs_dropout_prob=size.dropout,
    )  # fmt: skip
    shape._attn_implementation = "sdpa"
    return BertForMaskedLM(shape)


def _load_start(config: TrainConfig, start: Path, lexicon: Lexicon) -> Any:
    """The masked-LM of ``encoder.start``, checked against the tokenizer and the head."""
    try:
        mlm = load_masked_lm(start, "sdpa")
    except ModelError as problem:
        raise ConfigError("encoder.start", [str(problem)]) from None
    _check_fit(config, mlm, str(start), "encoder.start", lexicon)
    return mlm


def _call_factory(config: TrainConfig, factory: str, lexicon: Lexicon) -> Any:
    """What ``encoder.factory`` returns, which :func:`osparse.trainer.loop.own_parts.check_own_parts` has tried."""
    where = "encoder.factory"
    mlm = load_dotted(factory, where)(lexicon, config)
    _check_fit(config, mlm, factory, where, lexicon)
    return mlm.float()


def _check_fit(config: TrainConfig, mlm: Any, name: str, where: str, lexicon: Lexicon) -> None:
    """Raises :class:`ConfigError` if the vocabulary or the positions are too few."""
    rows, longest = mlm.get_output_embeddings().weight.shape[0], positions(mlm)
    problems = []
    if rows < len(lexicon.tokens):
        problems.append(
            f"{name} has {rows} vocabulary rows, {config.tokenizer} has {len(lexicon.tokens)} tokens; "
            "give the tokenizer that belongs to the checkpoint"
        )
    if longest < config.head.network_reads:
        setting = "max_length" if config.head.network_reads == config.head.max_length else "network_length"
        problems.append(f"{name} has {longest} positions, head.{setting} is {config.head.network_reads}; lower it")
    if problems:
        raise ConfigError(where, problems)
