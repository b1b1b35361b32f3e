"""The lexical table of a run: each token itself, and its translations by IBM Model 1 over the training records."""

from __future__ import annotations

import logging

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from osparse.encoders.lexical_table import LexicalTable
from osparse.trainer.config.run_config import LexicalConfig
from osparse.trainer.config.stage_config import settled
from osparse.trainer.data.padding import SpecialTokens
from osparse.trainer.data.token_translation import above, estimate
from osparse.trainer.data.training_records import TrainingRecords

log = logging.getLogger("osparse.trainer.stages.lexical")


def lexical_table(
    config: LexicalConfig, records: TrainingRecords, rows: int, special: SpecialTokens, limit: int
) -> LexicalTable:
    """The table of :class:`LexicalTable` for a decoder of ``rows`` rows; documents have at most ``limit`` ids."""
    translated = settled(config.translated)
    lengths = [min(len(d.ids) + special.size, limit) for record in records.records for d in record.documents]
    matrix = translated * translations(config, records, rows, limit) if translated else None
    if matrix is not None and not matrix.nnz:
        log.warning(
            "lexical_table.translated has no effect: no translation has a probability of lexical_table.floor, %s",
            config.floor,
        )
    targets, weights = _entries(matrix, rows, settled(config.own))
    log.info("lexical table: %d translations of %d tokens", int((weights[:, 1:] > 0).sum()), rows)
    return LexicalTable(
        torch.from_numpy(targets), torch.from_numpy(weights), k1=config.k1, b=config.b, average=float(np.mean(lengths))
    )


def translations(config: LexicalConfig, records: TrainingRecords, rows: int, limit: int) -> sparse.csr_matrix:
    """(rows, rows) t(document token | query token) at [document token, query token], the largest of each row.

    A document token e answers a query token k of another language as far as k is translated by e.
    """
    matrix = sparse.csr_matrix((rows, rows), dtype=np.float64)
    for query_lang in records.languages:
        for document_lang in records.languages:
            if query_lang != document_lang:
                table = above(estimate(records, query_lang, document_lang, rows, limit), config.floor)
                matrix = matrix.maximum(table.T.tocsr())
    matrix.setdiag(0)
    matrix.eliminate_zeros()
    return _largest(matrix, config.entries)


def _largest(matrix: sparse.csr_matrix, entries: int) -> sparse.csr_matrix:
    """At most ``entries`` of each row, the largest; equal ones by column."""
    row = matrix.tocoo().row
    order = np.lexsort((matrix.indices, -matrix.data, row))  # a row's entries stay where the row is
    rank = np.arange(len(order)) - matrix.indptr[row]
    largest = order[rank < entries]
    return sparse.csr_matrix((matrix.data[largest], (row[largest], matrix.indices[largest])), shape=matrix.shape)


def _entries(matrix: sparse.csr_matrix | None, rows: int, own: float) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """(rows, 1 + K) targets and weights: first the token itself, then its translations; rest the token with 0."""
    size = 0 if matrix is None else int(np.diff(matrix.indptr).max(initial=0))
    targets = np.repeat(np.arange(rows)[:, None], 1 + size, axis=1)
    weights = np.zeros((rows, 1 + size), np.float32)
    weights[:, 0] = own
    if matrix is not None:
        row = matrix.tocoo().row
        place = 1 + np.arange(len(row)) - matrix.indptr[row]
        targets[row, place], weights[row, place] = matrix.indices, matrix.data
    return targets, weights
