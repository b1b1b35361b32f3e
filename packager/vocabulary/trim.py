"""Trimming: choose tokens by a corpus, keep their rows, prove that nothing else changed, and measure what is lost."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from osparse.contracts.bundle import Bundle, BundleFile
from osparse.contracts.model import Model
from osparse.encoders.onnx_encoder import pad, read_tokenizer
from osparse.encoders.torch_encoder import SparseEncoder
from osparse.errors import CheckError, InputError
from osparse.formula.server_costs import MODEL_MEMORY
from osparse.packager.checkpoint.loaded import LoadedModel
from osparse.packager.compare.parity import TOLERANCE
from osparse.packager.vocabulary.choice import Choice, Chooser
from osparse.packager.vocabulary.corpus_sample import CorpusSample, read_sample
from osparse.packager.vocabulary.loss import Encoded, TokenChange, dropped_weight, encode, quality, token_change
from osparse.packager.vocabulary.query_weights import reweighted
from osparse.packager.vocabulary.request import VocabularyRequest
from osparse.packager.vocabulary.rows import padding_id
from osparse.packager.vocabulary.token_use import read_use
from osparse.packager.vocabulary.trimmed_model import dealt_ids, tokenizer_files, with_tokens

log = logging.getLogger("osparse.packager.vocabulary.trim")
PROOF_LENGTHS = (3, 17, 64)
"""Ids of the random texts on which both encoders must agree."""


@dataclass(frozen=True)
class Trimmed:
    """A model with its whole vocabulary and with what is left of it."""

    whole: LoadedModel
    loaded: LoadedModel
    """With the tokens that stay."""
    facts: Mapping[str, Any]
    """The manifest's ``trimming``, but for the bytes that it saves."""

    def manifest(self, files: Mapping[str, BundleFile]) -> dict[str, Any]:
        """The manifest's ``trimming``, with the bytes that the whole vocabulary would add to the finished zips."""
        saved = {key: self._saved(key, file.size) for key, file in files.items()}
        memory = {key: round(MODEL_MEMORY[file.model_format][1] * saved[key]) for key, file in files.items()}
        return {
            **self.facts,
            "zip_bytes_saved": saved,
            "server_memory_bytes_saved": {key: size for key, size in memory.items() if key != "tokenizer"},
        }

    def _saved(self, key: str, size: int) -> int:
        """Bytes of a zip; in a quantised one each parameter takes as many as they do on average."""
        whole, trimmed = (side.for_queries if key == "tokenizer" else side.shared for side in (self.whole, self.loaded))
        before, after = (sum(map(len, texts.values())) for texts in (whole, trimmed))
        if key == "tokenizer":
            return before - after
        whole_bytes, bytes_left = weight_bytes(self.whole.encoder), weight_bytes(self.loaded.encoder)
        return before - after + round((whole_bytes - bytes_left) * min(1.0, (size - after) / bytes_left))


def trim(whole: LoadedModel, request: VocabularyRequest) -> Trimmed:
    """Trim a loaded model for the dataset of a request.

    Raises:
        InputError: more tokens must stay than the request allows, or the model cannot be trimmed.
        CheckError: a text without a removed token would be encoded in another way.
    """
    sample = read_sample(request.dataset)
    before = encode(whole, sample, "encode documents, whole vocabulary")
    choice = _choose(whole, request, sample, before)
    kept = with_tokens(whole, choice.tokens)
    require_same_weights(whole, kept)
    loaded = reweighted(whole, kept, sample)
    documents = token_change(whole, loaded, sample.all_documents())
    queries = token_change(whole, loaded, sample.queries(), queries=True)
    _require_same_tokens(whole, documents, queries)
    after = encode(loaded, sample, "encode documents, trimmed vocabulary")
    facts = {
        "request": request.identity(),
        "tokens": {
            "before": len(whole.model.lexicon.id_of),
            "after": len(choice.tokens),
            "special": choice.special,
            "alphabet": choice.alphabet,
            "reweighted": int((loaded.model.lexicon.idf != kept.model.lexicon.idf).sum()),
        },
        "weight_dropped": dropped_weight(before, dealt_ids(whole, choice.tokens)),
        "documents": documents.to_json(),
        "queries": queries.to_json(),
        "ndcg": quality((whole, before), (loaded, after), sample),
    }
    return Trimmed(whole, loaded, facts)


def trimmed_as(bundle: Bundle, model: Model) -> LoadedModel:
    """The model with the tokens that a bundle has, to be compared with it.

    Raises:
        InputError: the bundle was made from another model.
    """
    made_from = str((bundle.trimming.get("request") or {}).get("model"))
    if model.fingerprint != made_from:
        raise InputError(
            f"{model.path} (fingerprint {model.fingerprint[:12]}) is not what {bundle.path} was trimmed from "
            f"({made_from[:12]}); pass that model, with its whole vocabulary"
        )
    tokens = read_tokenizer(bundle.zip_path("tokenizer"))[1]
    return with_tokens(LoadedModel.open(model), {*tokens})


def require_same_weights(whole: LoadedModel, loaded: LoadedModel) -> None:
    """Raises :class:`CheckError` unless both give the same tokens the same weights, before pruning."""
    ids = dealt_ids(whole, {*loaded.model.lexicon.tokens})
    old = np.array(sorted(ids, key=ids.__getitem__))
    random = np.random.default_rng(0)
    rows = [random.choice(loaded.ordinary_ids, min(n, loaded.model.head.max_length)).tolist() for n in PROOF_LENGTHS]
    with torch.inference_mode():
        expected = _weights(whole.encoder, [[int(old[i]) for i in row] for row in rows])[:, torch.from_numpy(old)]
        gap = float((_weights(loaded.encoder, rows) - expected).abs().max())
    if not gap <= TOLERANCE:
        raise CheckError(
            f"{whole.model.path}: with a trimmed vocabulary the encoder gives the tokens that stay other weights (by "
            f"{gap:.2g}), so that its architecture cannot be trimmed; nothing was written; leave `vocabulary` out"
        )


def _weights(encoder: SparseEncoder, rows: list[list[int]]) -> Tensor:
    """(B, V) weights before pruning, without special tokens."""
    ids, mask = (torch.from_numpy(array) for array in pad(rows))
    weights: Tensor = encoder(ids, mask)
    return weights


def _choose(whole: LoadedModel, request: VocabularyRequest, sample: CorpusSample, before: Encoded) -> Choice:
    use = read_use(sample, whole.tokenizer(), whole.query_tokenizer(), before.weights)
    tokens, padding = whole.model.lexicon.tokens, padding_id(whole.encoder)
    always = [tokens[padding]] if padding is not None and padding < len(tokens) and tokens[padding] else []
    choice = Chooser(tokenizer_files(whole), tokens, use).choose(request, always)
    log.info("%d of %d tokens stay, of %s letters", len(choice.tokens), len(tokens), ", ".join(sorted(use.scripts)))
    return choice


def _require_same_tokens(whole: LoadedModel, *changes: TokenChange) -> None:
    broken = sum(change.broken for change in changes)
    if broken:
        raise CheckError(
            f"{whole.model.path}: {broken} texts of the dataset have other tokens with the trimmed vocabulary, "
            "although all of their tokens are left; nothing was written; leave `vocabulary` out"
        )


def weight_bytes(encoder: SparseEncoder) -> int:
    """Bytes of the parameters and buffers, a tied one once."""
    tensors = {id(tensor): tensor for tensor in (*encoder.parameters(), *encoder.buffers())}
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
