"""Why a query does not find a document: filtered out, no shared token, cut off, or ranked behind others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from osparse.contracts.bundle import Bundle
from osparse.contracts.deployment import Deployment
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.load.bundle_store import fetch_part
from osparse.encoders.onnx_encoder import read_tokenizer
from osparse.encoders.onnx_unpruned import UnprunedEncoder
from osparse.errors import InputError
from osparse.formula.lexicon import Lexicon
from osparse.retrieval.filters.clauses import Filter
from osparse.retrieval.filters.matching import unsatisfied
from osparse.retrieval.searcher import Searcher

LOOKED_AT = 1000
"""Hits among which the document's rank is looked up."""


@dataclass(frozen=True)
class NeededExpansion:
    """A query token that the stored document lacks, and what the encoder makes of it before pruning."""

    token: str
    query_weight: float
    weight: float | None
    """Before pruning; 0 where the encoder gives the token nothing, None where no encoder was at hand."""
    rank: int | None
    """Among the document's weights before pruning, 1 the largest; None where the weight is 0 or unknown."""


@dataclass(frozen=True)
class Cut:
    """The part of the document's text behind ``max_length``, which no encoder reads."""

    tokens: int
    """Of the whole text, special ones included."""
    max_length: int
    lost_text: str
    query_tokens: list[str]
    """Query tokens that stand in the lost part only."""


@dataclass(frozen=True)
class WhyNot:
    rank: int | None
    """Among the query's hits; None if it is not among the first :data:`LOOKED_AT`."""
    filtered: str
    """Why a filter leaves the document out; empty if none does."""
    shares_token: bool
    needed: list[NeededExpansion]
    """By falling query weight."""
    stored_weights: int
    smallest_stored: float | None
    unpruned_weights: int | None
    """Non-zero weights before pruning; None where no encoder was at hand."""
    cut: Cut | None
    """None where the text is not longer than ``max_length``, or is indexed in pieces."""
    note: str
    """What could not be found out, and what to pass for it; empty where nothing is missing."""


def why_not(
    searcher: Searcher,
    document_id: str,
    source: Mapping[str, Any],
    text: str,
    document: Mapping[str, float],
    *,
    lang: str | None,
    filter: Filter | None = None,
    bundle: Bundle | None,
) -> WhyNot:
    """Everything known of why ``text`` does not find a document, or not nearer the top.

    Args:
        source: The document as the index holds it.
        document: Its stored weights.
        lang: The language that the search was restricted to.
        filter: The filter of the search.
        bundle: Where the cluster does not hold the ONNX encoder (ML Commons): the deployed bundle.

    Raises:
        InputError: ``bundle`` is another one than the deployed one.
    """
    query = searcher.weights(text)
    encoder = unpruned_encoder(searcher, bundle)
    document_text = searcher.text_of(source)
    unpruned = encoder.encode(document_text) if encoder is not None else None
    return WhyNot(
        rank=_rank(searcher, document_id, text, lang, filter),
        filtered="; ".join(_filtered(searcher, document_id, str(source.get("lang") or ""), lang, filter)),
        shares_token=any(token in document for token in query),
        needed=needed_expansions(query, document, unpruned, searcher.encoder.lexicon),
        stored_weights=len(document),
        smallest_stored=min(document.values(), default=None),
        unpruned_weights=int(np.count_nonzero(unpruned)) if unpruned is not None else None,
        cut=None if _whole(searcher.deployment) else _cut(searcher, encoder, document_text, query),
        note="" if encoder is not None else _no_encoder(searcher),
    )


def _whole(deployment: Deployment) -> bool:
    """Whether long texts are encoded to their end."""
    return deployment.chunks or deployment.window_weight is not None


def _rank(searcher: Searcher, document_id: str, text: str, lang: str | None, filter: Filter | None) -> int | None:
    hits = searcher.search(text, top=LOOKED_AT, lang=lang, filter=filter).hits
    return next((rank for rank, hit in enumerate(hits, start=1) if hit.id == document_id), None)


def _filtered(
    searcher: Searcher, document_id: str, document_lang: str, lang: str | None, filter: Filter | None
) -> Iterator[str]:
    if lang is not None and document_lang != lang:
        yield f"the search asks for lang {lang}, the document has {document_lang or 'none'}"
    for condition in unsatisfied(ClusterApi(searcher.cluster), searcher.index, document_id, searcher.parts(filter)):
        yield f"the document does not satisfy {condition}"


def needed_expansions(
    query: Mapping[str, float], document: Mapping[str, float], unpruned: np.ndarray | None, lexicon: Lexicon
) -> list[NeededExpansion]:
    """The query tokens that a document lacks, by falling query weight.

    Args:
        unpruned: (V,) the document's weights before pruning; None where no encoder is at hand.
        lexicon: Of the V tokens.
    """
    absent = sorted((pair for pair in query.items() if pair[0] not in document), key=lambda pair: (-pair[1], pair[0]))
    return [NeededExpansion(token, weight, *_place(unpruned, lexicon.id_of[token])) for token, weight in absent]


def _place(unpruned: np.ndarray | None, token: int) -> tuple[float | None, int | None]:
    """(weight, rank) of a token before pruning."""
    if unpruned is None:
        return None, None
    weight = float(unpruned[token])
    return weight, int(np.count_nonzero(unpruned > weight)) + 1 if weight > 0 else None


def unpruned_encoder(searcher: Searcher, bundle: Bundle | None) -> UnprunedEncoder | None:
    """The deployed document encoder; None in a mode where the cluster alone has it and no bundle was given."""
    if bundle is None and searcher.deployment.mode != "client":
        return None
    return UnprunedEncoder(_part(searcher, bundle, "onnx"))


def _part(searcher: Searcher, bundle: Bundle | None, part: str) -> Path:
    if bundle is None:
        return fetch_part(ClusterApi(searcher.cluster), searcher.deployment, part)
    if bundle.fingerprint != searcher.deployment.fingerprint:
        raise InputError(
            f"index {searcher.index} serves bundle {searcher.deployment.bundle} "
            f"({searcher.deployment.fingerprint[:12]}), `bundle` is {bundle.name} ({bundle.short}); give "
            "the deployed one"
        )
    return bundle.zip_path(part)


def _no_encoder(searcher: Searcher) -> str:
    return (
        f"the cluster encodes for index {searcher.index} itself, so the weights before pruning are not known: pass "
        f"`bundle`, the bundle directory of {searcher.deployment.bundle} with its ONNX encoder"
    )


def _cut(searcher: Searcher, encoder: UnprunedEncoder | None, text: str, query: Mapping[str, float]) -> Cut | None:
    """By the document encoder's tokenizer, or where the cluster alone has that one, by the query side's."""
    if encoder is not None:
        return cut_part(encoder.tokenizer, encoder.tokens, text, query)
    tokenizer, tokens, _ = read_tokenizer(_part(searcher, None, "tokenizer"))
    tokenizer.enable_truncation(searcher.deployment.max_length)
    return cut_part(tokenizer, tokens, text, query)


def cut_part(tokenizer: Tokenizer, tokens: Sequence[str], text: str, query: Mapping[str, float]) -> Cut | None:
    """What ``tokenizer`` cuts off ``text``; None where it reads all of it. The tokenizer is left as it was.

    Args:
        tokens: Raw tokens by id.
        query: Raw token -> weight.
    """
    truncation = tokenizer.truncation
    kept = tokenizer.encode(text)
    if truncation is None or len(kept.ids) < truncation["max_length"]:
        return None
    tokenizer.no_truncation()
    whole = tokenizer.encode(text)
    tokenizer.enable_truncation(**truncation)
    if len(whole.ids) <= len(kept.ids):
        return None
    end = max((stop for _, stop in kept.offsets), default=0)
    lost = {tokens[i] for i in whole.ids} - {tokens[i] for i in kept.ids}
    return Cut(len(whole.ids), len(kept.ids), text[end:].strip(), sorted(lost & query.keys()))
