"""The weights of the lexical table, chosen by the validation split once the network is trained.

Network and table are added, so the network encodes the validation documents once, and each choice of weights costs a
sum, a cut and a ranking. ``own`` is chosen first, with the default of ``translated``, and ``translated`` after it.
A weight other than the default is taken only if its mean nDCG@10 is above the default's by more than one standard error
of the paired difference: a small validation split leaves the defaults.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import sparse

from osparse.encoders.lexical_table import LexicalTable
from osparse.encoders.onnx_encoder import pad
from osparse.encoders.torch_encoder import SparseEncoder, TextEncoder, grouped
from osparse.evaluation.measures import NDCG, Measures
from osparse.formula.head import Head
from osparse.formula.lexicon import load_tokenizer
from osparse.trainer.config.run_config import LexicalConfig
from osparse.trainer.config.stage_config import settled
from osparse.trainer.loop.validation import Encoded, Validation, prune_ratio

log = logging.getLogger("osparse.trainer.loop.table_choice")
TRIED = {"own": (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0), "translated": (0.0, 0.35, 0.7, 1.0, 1.4)}
"""Weights of the table that are tried."""
BATCH, TOKENS = 64, 4_096
"""Documents, and their padded tokens, that the table is applied to at a time."""
Values = dict[str, float]
"""Setting of the table -> its value."""


@dataclass(frozen=True)
class TableChoice:
    """The weights that were chosen."""

    config: LexicalConfig
    values: Values
    """``lexical_table.NAME`` -> weight, of the settings that were to be chosen."""
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Documents:
    """Documents of one language, in the order of ``ids``; (N, V) each."""

    lang: str
    ids: list[str]
    network: sparse.csr_matrix
    parts: dict[str, sparse.csr_matrix]
    """What the table adds with a weight of 1 for this setting and 0 for the other."""


def choose_table(
    validation: Validation, encoder: SparseEncoder, config: LexicalConfig, choose: Sequence[str]
) -> TableChoice:
    """Give ``encoder`` the table's weights that do best on the validation split.

    Args:
        encoder: With a table made by ``config``.
        choose: Of "own" and "translated", those to choose; the other stays.
    """
    table = encoder.lexical
    if table is None:
        raise TypeError("an encoder without a lexical table has no weights to choose")
    values = {name: settled(getattr(config, name)) for name in TRIED}
    documents = [_documents(validation, encoder, table, values, lang) for lang in validation.corpora]
    notes = []
    for name in choose:
        values, note = _choose(validation, encoder, documents, values, name)
        log.info("%s", note)
        notes.append(note)
    encoder.lexical = reweighted(table, config, values)
    named = {f"lexical_table.{name}": values[name] for name in choose}
    return TableChoice(replace(config, own=values["own"], translated=values["translated"]), named, tuple(notes))


def reweighted(table: LexicalTable, config: LexicalConfig, values: Mapping[str, float]) -> LexicalTable:
    """The table made by ``config`` with other weights; those that are 0 in ``config`` stay 0."""
    weights = table.weights.clone()
    for name, columns in (("own", slice(0, 1)), ("translated", slice(1, None))):
        before = settled(getattr(config, name))
        weights[:, columns] *= values[name] / before if before else 0.0
    return LexicalTable(table.targets, weights, k1=table.k1, b=table.b, average=table.average).to(table.weights.device)


def _choose(
    validation: Validation, encoder: SparseEncoder, documents: Sequence[_Documents], values: Values, name: str
) -> tuple[Values, str]:
    """``values`` with the best weight of ``name``, and a line that says what was seen."""
    default = values[name]
    weights = dict.fromkeys((*TRIED[name], default))
    tried = {weight: _ranked(validation, encoder, documents, values | {name: weight}) for weight in weights}
    means = {weight: _mean(measures) for weight, measures in tried.items()}
    best = max(means, key=lambda weight: (means[weight], weight == default))
    gain, error = paired_difference(tried[best], tried[default])
    chosen = best if gain > error else default
    seen = ", ".join(f"{weight:g} {means[weight]:.4f}" for weight in sorted(means))
    reason = f"validation nDCG@10 of {seen}"
    if best != default:
        verdict = "above" if chosen == best else "not above"
        reason += f"; the gain of {best:g}, {gain:.4f}, is {verdict} its standard error, {error:.4f}"
    return values | {name: chosen}, f"lexical_table.{name}: {chosen:g} is chosen: {reason}"


def _mean(measures: Sequence[Measures]) -> float:
    return float(np.mean([of_set.mean(NDCG) for of_set in measures]))


def paired_difference(ours: Sequence[Measures], theirs: Sequence[Measures]) -> tuple[float, float]:
    """Difference of the mean over directions, and its standard error.

    A query that is asked in several directions is one observation: its differences, each divided by the queries of the
    direction and the number of directions, are added. Infinite with fewer than two queries.
    """
    shares: dict[str, float] = {}
    for of_set, against in zip(ours, theirs, strict=True):
        difference = (of_set.values(NDCG) - against.values(NDCG)) / (of_set.queries * len(ours))
        for query, value in zip(of_set.per_query[NDCG], difference.tolist(), strict=True):
            shares[query] = shares.get(query, 0.0) + value
    values = np.array(list(shares.values()))
    if len(values) < 2:
        return float(values.sum()), float("inf")
    return float(values.sum()), float(np.sqrt(len(values)) * values.std(ddof=1))


def _ranked(
    validation: Validation, encoder: SparseEncoder, documents: Sequence[_Documents], values: Values
) -> list[Measures]:
    """The measures of each direction, cut as the model is served."""
    head = encoder.head
    if validation.nonzeros is not None:
        encoder.head = replace(head, prune_ratio=0.0)
    try:
        encoded = [part for of_language in documents for part in _pruned(encoder, of_language, values)]
    finally:
        encoder.head = head
    ratio = head.prune_ratio
    if validation.nonzeros is not None:
        ratio = prune_ratio([weights for _, _, weights in encoded], validation.nonzeros)
    return validation.rank(validation.indices(encoded, Head(prune_ratio=ratio)), validation.query_weights(encoder))


def _pruned(encoder: SparseEncoder, documents: _Documents, values: Values) -> Iterator[Encoded]:
    total = documents.network
    for name, part in documents.parts.items():
        total = total + values[name] * part
    for start in range(0, len(documents.ids), BATCH):
        rows = slice(start, start + BATCH)
        own = torch.from_numpy(documents.parts["own"][rows].toarray() > 0) if encoder.head.keep_own else None
        pruned = encoder.prune(torch.from_numpy(total[rows].toarray().astype(np.float32)), own).numpy()
        yield documents.lang, documents.ids[rows], sparse.csr_matrix(pruned)


def _documents(
    validation: Validation, encoder: SparseEncoder, table: LexicalTable, values: Values, lang: str
) -> _Documents:
    """The network's weights of the documents before the cut, and what the table adds."""
    corpus, head = validation.corpora[lang], encoder.head
    encoder.lexical, encoder.head = None, replace(head, prune_ratio=0.0, top_k=None, keep_own=False)
    try:
        encoded = [
            (rows, sparse.csr_matrix(weights))
            for rows, weights in TextEncoder(encoder, validation.tokenizer).batches(corpus.texts)
        ]
    finally:
        encoder.lexical, encoder.head = table, head
    parts = {}
    for name, alone in _separate(table).items():
        parts[name] = _added(encoder, alone, validation, corpus.texts) / (values[name] or 1.0)
    order = np.argsort(np.concatenate([rows for rows, _ in encoded]))
    network = sparse.vstack([weights for _, weights in encoded], format="csr")[order]
    return _Documents(lang, corpus.ids, network, parts)


def _separate(table: LexicalTable) -> dict[str, LexicalTable]:
    """The table with the tokens themselves alone, and with their translations alone."""
    tables = {}
    for name, others in (("own", slice(1, None)), ("translated", slice(0, 1))):
        weights = table.weights.clone()
        weights[:, others] = 0.0
        tables[name] = LexicalTable(table.targets, weights, k1=table.k1, b=table.b, average=table.average)
    return {name: alone.to(table.weights.device) for name, alone in tables.items()}


def _added(
    encoder: SparseEncoder, table: LexicalTable, validation: Validation, texts: Sequence[str]
) -> sparse.csr_matrix:
    """(N, V) what the table adds to the texts, in their order."""
    tokenizer = load_tokenizer(validation.tokenizer)
    tokenizer.enable_truncation(encoder.head.max_length)
    ids = [encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts))]
    batches = list(grouped([len(i) for i in ids], BATCH, TOKENS))
    rows, made = np.concatenate(batches), list[sparse.csr_matrix]()
    before, encoder.lexical = encoder.lexical, table
    try:
        with torch.inference_mode():
            for batch in batches:
                padded, mask = (
                    torch.from_numpy(array).to(encoder.keep.device) for array in pad([ids[i] for i in batch])
                )
                zeros = encoder.keep.new_zeros(len(batch), len(encoder.keep))
                made.append(sparse.csr_matrix(encoder.with_lexical(zeros, padded, mask).cpu().numpy()))
    finally:
        encoder.lexical = before
    return sparse.vstack(made, format="csr")[np.argsort(rows)]
