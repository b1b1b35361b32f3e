"""The model to package, loaded once and checked: weights finite, special tokens masked, positions enough."""

from __future__ import annotations

import json
import logging
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from osparse.contracts.model import Model
from osparse.encoders.lexical_table import read_table
from osparse.encoders.torch_encoder import SparseEncoder, decoder_rows, positions
from osparse.errors import CheckError, ModelError
from osparse.formula.head import SERVER_MAX_TOKENS
from osparse.formula.query_encoder import QueryEncoder
from osparse.masked_lm.load import load_masked_lm
from osparse.masked_lm.weight_files import weight_files
from osparse.packager.checkpoint.checkpoints import ForeignCheckpoint
from osparse.packager.checkpoint.top_k import TopKOfAll
from osparse.packager.tokenizer.packaged import load, packaged, packaged_tokenizer, truncated

log = logging.getLogger("osparse.packager.checkpoint.loaded")
MAX_DENSITY = 0.995
"""Share of the ordinary vocabulary that may be non-zero in the median probe; above it nothing is sparse."""
HIGH_DENSITY = 0.1
"""Share above which the user is told what an index will make of it."""


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to be packaged."""

    model: Model
    encoder: SparseEncoder
    tokenizer_json: bytes
    """As it goes into the encoders' zips, cut at the head's max_length."""
    query_tokenizer_json: bytes
    """As it goes into tokenizer.zip, cut where queries are."""
    ordinary_ids: tuple[int, ...]
    """Ids that may carry weight."""

    @classmethod
    def open(cls, model: Model) -> LoadedModel:
        """Raises :class:`ModelError` or :class:`BundleError` saying what does not fit."""
        tokenizer_json, query_tokenizer_json = _tokenizers(model)
        _require_ids(model, tokenizer_json)
        _require_ids(model, query_tokenizer_json)
        mlm = load_masked_lm(model.path, "eager")
        lexical = None if isinstance(model, ForeignCheckpoint) else read_table(model.path, decoder_rows(mlm))
        kind = TopKOfAll if isinstance(model, ForeignCheckpoint) and model.head.top_k is not None else SparseEncoder
        encoder = kind(mlm, model.head, lexical).eval().requires_grad_(False)
        _require_rows(model, encoder)
        _require_finite(model, encoder)
        _require_masked(model, encoder)
        if positions(encoder.mlm) < model.head.network_reads:
            raise ModelError(
                f"{model.path}: the network reads {model.head.network_reads} ids, it has {positions(encoder.mlm)} "
                "positions; lower max_length in osparse.json, or pass `max_length` for another's checkpoint"
            )
        masked = set(model.head.masked_ids)
        ordinary = tuple(i for i in range(len(model.lexicon.tokens)) if i not in masked)
        return cls(model, encoder, tokenizer_json, query_tokenizer_json, ordinary)

    def with_top_k(self, top_k: int) -> LoadedModel:
        """The model with at most ``top_k`` weights per document, its own tokens among them; layers are shared."""
        head = self.encoder.head.capped(top_k)
        encoder = copy(self.encoder)
        encoder.head = head
        return replace(self, model=replace(self.model, head=head), encoder=encoder)

    @property
    def longest(self) -> int:
        """Tokens the encoder is checked with: the server's limit, or the model's if that is lower."""
        if self.encoder.head.network_length is not None:
            return SERVER_MAX_TOKENS
        return min(SERVER_MAX_TOKENS, positions(self.encoder.mlm))

    @cached_property
    def shared(self) -> dict[str, bytes]:
        """The files that every encoder zip holds."""
        return {"tokenizer.json": self.tokenizer_json, "idf.json": self.model.lexicon.idf_text().encode()}

    @property
    def for_queries(self) -> dict[str, bytes]:
        """The files of tokenizer.zip: a query is cut where the server cuts, not where documents are."""
        return {**self.shared, "tokenizer.json": self.query_tokenizer_json}

    @property
    def query_length(self) -> int:
        """Ids per query, special ones included."""
        return self.model.query_length if isinstance(self.model, ForeignCheckpoint) else SERVER_MAX_TOKENS

    @property
    def own_query_tokenizer(self) -> bool:
        """Whether queries have another tokenizer.json than documents, apart from where it cuts."""
        documents, queries = (json.loads(data) for data in (self.tokenizer_json, self.query_tokenizer_json))
        return {**documents, "truncation": None} != {**queries, "truncation": None}

    def tokenizer(self) -> Tokenizer:
        """The packaged tokenizer, truncating as the server will."""
        return load(self.tokenizer_json, str(self.model.path / "tokenizer.json"))

    def query_tokenizer(self) -> Tokenizer:
        """The packaged tokenizer of queries."""
        return load(self.query_tokenizer_json, str(self.model.path / "tokenizer.json"))

    def query_encoder(self) -> QueryEncoder:
        return QueryEncoder(self.query_tokenizer(), self.model.lexicon, max_length=self.query_length)

    def run(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """The model itself, in torch as it was trained: (B, T), (B, T) -> (B, V) pruned weights."""
        with torch.inference_mode():
            inputs = torch.from_numpy(ids), torch.from_numpy(mask)
            weights = self.encoder.prune(self.encoder(*inputs), self.encoder.kept_tokens(*inputs))
        pruned: NDArray[np.float32] = weights.numpy()
        return pruned

    def require_sparse(self, nonzeros: list[int]) -> None:
        """``nonzeros`` of each probe; raises :class:`CheckError` for an encoder that is no sparse encoder."""
        if not any(nonzeros):
            raise CheckError(f"{self.model.path}: every probe text gets no weight at all; train the model further")
        median = sorted(nonzeros)[len(nonzeros) // 2]
        if median > MAX_DENSITY * len(self.ordinary_ids):
            raise CheckError(
                f"{self.model.path}: the median probe text has {median:,} of {len(self.ordinary_ids):,} tokens "
                "non-zero, which no index can serve; train with more regularisation, or set head.prune_ratio or top_k"
            )
        if median > HIGH_DENSITY * len(self.ordinary_ids):
            log.warning(
                "the median probe text has %s of %s tokens non-zero: the index will be large and queries slow",
                f"{median:,}",
                f"{len(self.ordinary_ids):,}",
            )


def _tokenizers(model: Model) -> tuple[bytes, bytes]:
    """tokenizer.json of the encoders' zips, and of tokenizer.zip."""
    path = model.path / "tokenizer.json"
    if isinstance(model, ForeignCheckpoint):
        documents = packaged(json.loads(model.tokenizer), model.head.max_length, path)
        return documents, packaged(json.loads(model.query_tokenizer), model.query_length, path)
    documents = packaged_tokenizer(path, model.head.max_length)
    return documents, truncated(documents, SERVER_MAX_TOKENS)


def _require_ids(model: Model, tokenizer_json: bytes) -> None:
    if not load(tokenizer_json, "tokenizer.json").encode("").ids:
        raise ModelError(
            f"{model.path}/tokenizer.json adds no special tokens, so an empty text has no ids and the server's call "
            "would fail; add a post_processor like [CLS] $A [SEP], with which the model was trained"
        )


def _require_rows(model: Model, encoder: SparseEncoder) -> None:
    rows = encoder.decoder.weight.shape[0]
    if rows < len(model.lexicon.tokens):
        raise ModelError(
            f"{model.path}: the decoder has {rows} rows, the tokenizer {len(model.lexicon.tokens)} tokens; "
            "they do not belong together"
        )


def _require_finite(model: Model, encoder: SparseEncoder) -> None:
    bad = [name for name, tensor in encoder.mlm.named_parameters() if not bool(torch.isfinite(tensor).all())]
    if bad:
        raise ModelError(
            f"{weight_files(model.path)[0]} has NaN or infinite weights in {len(bad)} tensors, like {bad[0]}; "
            "train again with: osparse train, or fetch the checkpoint again"
        )


def _require_masked(model: Model, encoder: SparseEncoder) -> None:
    """No id without a token, and no special one, may carry weight."""
    tokens, masked = model.lexicon.tokens, set(model.head.masked_ids)
    unmasked = [i for i in model.lexicon.special_ids if i not in masked]
    unmasked += [i for i in range(len(encoder.keep)) if i not in masked and (i >= len(tokens) or not tokens[i])]
    if unmasked:
        raise ModelError(
            f"{model.path}/osparse.json: head.masked_ids lacks {len(unmasked)} special or unused ids "
            f"({unmasked[:5]}), which the server would answer as tokens; add them and evaluate again"
        )
