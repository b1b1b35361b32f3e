"""Embeddings to start from: latent semantic analysis in which a record's texts, in all its languages, are one column.

Tokens that occur in the same records, or in each other's translations, start near each other (cross-lingual LSA,
Dumais et al. 1997). The masked-LM transform starts as the identity, so that a document keeps its own tokens.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.extmath import randomized_svd

from osparse.trainer.config.run_config import WarmStart
from osparse.trainer.data.batch_sampler import tf_idf
from osparse.trainer.data.training_records import TrainingRecords

log = logging.getLogger("osparse.trainer.stages.warm_start")
IDENTITY_SHIFT = 3.0
"""Added before the transform's GELU, which is the identity far above 0; the layer norm after it takes it out again."""


def warm_start(mlm: Any, config: WarmStart, records: TrainingRecords, idf: NDArray[np.float32], seed: int) -> None:
    """Write the embeddings of a new BERT in place; its tied decoder follows."""
    rows, hidden = mlm.get_input_embeddings().weight.shape
    latent = lsa(records, idf, hidden, seed)
    generator = np.random.default_rng([seed, 0])
    noise = _unit(generator.standard_normal((rows, hidden)))
    directions = np.zeros((rows, hidden))
    directions[: len(latent)] = latent
    mixed = _unit(config.share * directions + np.sqrt(1 - config.share**2) * noise) * config.norm
    with torch.no_grad():
        embeddings, transform = mlm.bert.embeddings, mlm.cls.predictions.transform
        embeddings.word_embeddings.weight.copy_(torch.from_numpy(mixed))
        embeddings.position_embeddings.weight.zero_()
        embeddings.token_type_embeddings.weight.zero_()
        transform.dense.weight.copy_(torch.eye(hidden))
        transform.dense.bias.fill_(IDENTITY_SHIFT)
    log.info("warm start: %d tokens from %d records, %d dimensions", len(latent), len(records), hidden)


def lsa(records: TrainingRecords, idf: NDArray[np.float32], dimensions: int, seed: int) -> NDArray[np.float64]:
    """(V, dimensions) unit rows, zero for tokens that no record holds: left singular vectors times sqrt(values).

    Records in one language stay out where others have several: they say nothing across languages, and being many they
    would fill the dimensions (deb-koen with 40,000 English descriptions more: ko->en of the vectors .20, without .48).
    """
    matrix = tf_idf(records, idf)
    several = np.array([len({document.lang for document in record.documents}) > 1 for record in records.records])
    if several.any():
        matrix = matrix[:, several]
    rank = min(dimensions, *matrix.shape)
    left, singular, _ = randomized_svd(matrix, rank, n_iter=3, random_state=seed)
    return _unit(np.pad(left * np.sqrt(singular), ((0, 0), (0, dimensions - rank))))


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of length 1; rows that are nothing but rounding become zero."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(norms > 1e-9, rows / np.maximum(norms, 1e-9), 0.0)
