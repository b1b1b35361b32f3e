"""A module of sentence-transformers around osparse's two encoders. Imported late: it needs torch and the library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sentence_transformers.base.modules import InputModule
from torch import Tensor

from osparse.errors import ModelError
from osparse.evaluation.encoder_pair import DocumentEncoder
from osparse.formula.lucene_rounding import quantise
from osparse.formula.query_encoder import QueryEncoder


class SparseModule(InputModule):
    """Texts -> (B, V) weights: of the IDF table for the task ``query``, of the document encoder otherwise."""

    def __init__(self, documents: DocumentEncoder, queries: QueryEncoder, *, quantised: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # the library has no types
        self.forward_kwargs = {"task"}
        self._documents, self._queries, self._quantised = documents, queries, quantised
        self.register_buffer("_idf", torch.from_numpy(queries.lexicon.idf.copy()), persistent=False)

    def preprocess(self, inputs: Sequence[Any], prompt: str | None = None, **_: Any) -> dict[str, Any]:
        """The texts as they are: each encoder has its own tokenizer."""
        return {"texts": [f"{prompt or ''}{text}" for text in inputs]}

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Adds ``sentence_embedding``, (B, V) float32, V tokens of the vocabulary; ``task`` may be "query"."""
        texts = features["texts"]
        weights = self._query_weights(texts) if kwargs.get("task") == "query" else self._document_weights(texts)
        return {**features, "sentence_embedding": weights}

    def get_embedding_dimension(self) -> int:
        return len(self._idf)

    def save(self, output_path: str, *_: Any, **__: Any) -> None:
        raise ModelError("this encoder only evaluates; copy the model directory or the bundle instead of saving it")

    def _query_weights(self, texts: Sequence[str]) -> Tensor:
        weights = torch.zeros(len(texts), len(self._idf), device=self._idf.device)
        for row, text in enumerate(texts):
            ids = self._queries.ids(text)
            weights[row, ids] = self._idf[ids]
        return weights

    def _document_weights(self, texts: Sequence[str]) -> Tensor:
        """Rows of a decoder beyond the vocabulary are left out: no query has such a token."""
        weights = np.zeros((len(texts), len(self._idf)), np.float32)
        for rows, encoded in self._documents.batches(texts):
            weights[rows] = encoded[:, : len(self._idf)]
        return torch.from_numpy(quantise(weights) if self._quantised else weights).to(self._idf.device)
