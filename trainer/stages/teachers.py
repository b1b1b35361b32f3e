"""Teachers: other scorers of a query and the documents of a batch. Documents are encoded once and cached.

A teacher reads whole texts, also where the student encodes a window of one. A span query has no text: only BM25, which
reads token ids, scores it. What a teacher cannot score is NaN and takes no part in distillation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from osparse.contracts.dataset import Dataset
from osparse.contracts.model import Model
from osparse.contracts.text_map import TextMap
from osparse.encoders.dense_encoder import DenseEncoder
from osparse.encoders.torch_encoder import TextEncoder
from osparse.errors import ConfigError, DatasetError
from osparse.formula.lexicon import load_tokenizer
from osparse.formula.query_encoder import QueryEncoder
from osparse.trainer.config.run_config import Teacher
from osparse.trainer.data.batch import Batch
from osparse.trainer.data.record_reader import text_maps
from osparse.trainer.data.training_records import TrainingRecords

Floats = NDArray[np.float32]
Vector = TypeVar("Vector")
VECTORS = 100_000
"""Texts whose vectors a teacher caches: about 0.2 GB of a sparse or a dense model's."""
K1, B = 1.2, 0.75
"""BM25's saturation and length normalisation; Lucene's defaults."""


class Scorer(Protocol):
    """One teacher."""

    def scores(self, batch: Batch, rows: slice) -> Floats:
        """(Q, n) of all queries and the documents ``rows`` of the batch; NaN where it has none."""


def make_scorer(teacher: Teacher, dataset: Dataset, records: TrainingRecords, device: torch.device) -> Scorer:
    """Raises :class:`ConfigError` if its folder does not exist, :class:`DatasetError` if the dataset has no scores."""
    if teacher.kind == "bm25":
        return Bm25Teacher(records)
    if teacher.kind == "labels":
        return LabelsTeacher(records)
    if teacher.kind == "dataset":
        return DatasetTeacher(records, teacher.scorer)
    path = teacher.path
    if path is None or not path.is_dir():
        raise ConfigError(
            "distillation.teachers",
            [f"{path} is not a folder; path of a {teacher.kind} teacher must be its model's folder"],
        )
    documents, queries = (Texts(texts) for texts in text_maps(dataset))
    if teacher.kind == "sparse":
        return SparseTeacher(path, documents, queries, device)
    return DenseTeacher(path, documents, queries, device)


class Texts(Mapping[str, str]):
    """The texts of a table by id, read from its memory map."""

    def __init__(self, texts: TextMap) -> None:
        self._texts = texts

    def __getitem__(self, name: str) -> str:
        return self.of([name])[0]

    def __iter__(self) -> Iterator[str]:
        return (self._texts.value(row, "id") for row in range(len(self)))

    def __len__(self) -> int:
        return len(self._texts)

    def of(self, names: Sequence[str]) -> list[str]:
        """Of several ids at once; raises :class:`DatasetError` for one that is not there."""
        rows = self._texts.index.rows(pl.Series(names, dtype=pl.String)) if names else np.zeros(0, np.uint32)
        return [self._texts.value(row) for row in rows.tolist()]


class DatasetTeacher:
    """Scores that were computed before and lie in the dataset's candidates."""

    def __init__(self, records: TrainingRecords, scorer: str | None) -> None:
        """Raises :class:`DatasetError` without scores of the scorer, or with no or several teachers and none named."""
        scorers = sorted({name for candidates in records.candidates.values() for name in candidates.scores})
        teachers = sorted({name for candidates in records.candidates.values() for name in candidates.teachers})
        if scorer is None and len(teachers) == 1:
            scorer = teachers[0]
        if scorer not in scorers:
            problem = (
                "a scorer must be named (teachers.0.scorer)"
                if scorer is None and scorers
                else f"no scores of {scorer!r}"
            )
            available = ", ".join(scorers) or "none"
            raise DatasetError(f"teacher dataset: {problem}; the train split's candidates have scores of: {available}")
        self.candidates, self.scorer = records.candidates, scorer

    def scores_of(self, query: str | None) -> Mapping[str, float]:
        """Document id -> score, of a query; {} for one without."""
        if query is None or query not in self.candidates:
            return {}
        return self.candidates[query].scores.get(self.scorer, {})

    def scores(self, batch: Batch, rows: slice) -> Floats:
        scores = np.full((len(batch.queries), len(batch.documents[rows])), np.nan, dtype=np.float32)
        for row, name in enumerate(batch.query_ids):
            of_query = self.scores_of(name)
            for column, document in enumerate(batch.documents[rows]):
                scores[row, column] = of_query.get(document.id, np.nan)
        return scores

    def list_scores(self, query: str, documents: Sequence[str]) -> Floats:
        """(n,) scores of documents for a query, both by id; NaN where the dataset has none."""
        of_query = self.scores_of(query)
        return np.array([of_query.get(document, np.nan) for document in documents], dtype=np.float32)


class Bm25Teacher:
    """BM25 over the student's own tokens (Robertson and Zaragoza 2009, section 3.4; Lucene's IDF), within a language.

    It does not score a document in another language than the query's, nor spans where there are several languages.
    """

    def __init__(self, records: TrainingRecords) -> None:
        self.lang_of_spans = records.languages[0] if len(records.languages) == 1 else ""
        vocabulary = 1 + max(int(ids.max()) for _, ids in _documents(records))
        frequencies = {lang: np.zeros(vocabulary) for lang in records.languages}
        tokens, counts = dict.fromkeys(records.languages, 0), dict.fromkeys(records.languages, 0)
        for lang, ids in _documents(records):
            frequencies[lang][np.unique(ids)] += 1
            tokens[lang] += len(ids)
            counts[lang] += 1
        self.idf = {
            lang: np.log1p((counts[lang] - frequency + 0.5) / (frequency + 0.5)).astype(np.float32)
            for lang, frequency in frequencies.items()
        }
        self.mean_length = {lang: tokens[lang] / counts[lang] for lang in records.languages}

    def scores(self, batch: Batch, rows: slice) -> Floats:
        documents = batch.documents[rows]
        scores = np.full((len(batch.queries), len(documents)), np.nan, dtype=np.float32)
        langs = np.array([query.text.lang if query.text else self.lang_of_spans for query in batch.queries])
        for column, document in enumerate(documents):
            same_lang = np.flatnonzero(langs == document.lang)
            scores[same_lang, column] = self._column(
                [batch.queries[row].ids for row in same_lang], document.lang, document.ids
            )
        return scores

    def _column(self, queries: Sequence[NDArray[np.int64]], lang: str, ids: NDArray[np.int64]) -> Floats:
        idf = self.idf[lang]
        frequency = np.bincount(ids, minlength=len(idf))[: len(idf)]
        length = K1 * (1 - B + B * len(ids) / self.mean_length[lang])
        weights = idf * frequency * (K1 + 1) / (frequency + length)
        return np.array([weights[query[query < len(idf)]].sum() for query in queries], dtype=np.float32)


class LabelsTeacher(Bm25Teacher):
    """The order that judgements alone give: relevant documents first, the others by BM25.

    A document's score is s / (1 + s) of its BM25 score s, 0 where BM25 has none, and 1 more if it is relevant.
    """

    def scores(self, batch: Batch, rows: slice) -> Floats:
        words = np.nan_to_num(super().scores(batch, rows), nan=0.0)
        scores: Floats = words / (1 + words)
        for column, document in enumerate(batch.documents[rows]):
            scores[[document.id in query.relevant for query in batch.queries], column] += 1
        return scores


def _documents(records: TrainingRecords) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Language and token ids of each document."""
    return ((document.lang, document.ids) for record in records.records for document in record.documents)


class SparseTeacher:
    """A trained sparse model: its document vectors, its own tokenizer and query weights."""

    def __init__(self, path: Path, documents: Texts, queries: Texts, device: torch.device) -> None:
        """Raises :class:`ModelError` if the folder is not a model."""
        model = Model.open(path)
        self.encoder = TextEncoder.open(model, device=str(device))
        self.query = QueryEncoder(load_tokenizer(model.path / "tokenizer.json"), model.lexicon)
        self.idf = model.lexicon.idf
        self.documents, self.queries = documents, queries
        self._vectors: VectorCache[tuple[NDArray[np.int64], Floats]] = VectorCache()

    def scores(self, batch: Batch, rows: slice) -> Floats:
        documents = [document.id for document in batch.documents[rows]]
        vectors = self._vectors.of(documents, self._encode)
        matrix = np.zeros((len(self.idf), len(documents)), dtype=np.float32)
        for column, (ids, weights) in enumerate(vectors):
            matrix[ids, column] = weights
        scores = np.full((len(batch.queries), len(documents)), np.nan, dtype=np.float32)
        for row, query in enumerate(batch.query_ids):
            if query is not None:
                tokens = self.query.ids(self.queries[query])
                scores[row] = self.idf[tokens] @ matrix[tokens]
        return scores

    def list_scores(self, query: str, documents: Sequence[str]) -> Floats:
        """(n,) scores of documents for a query, both by id."""
        weights = np.zeros(len(self.idf), dtype=np.float32)
        tokens = self.query.ids(self.queries[query])
        weights[tokens] = self.idf[tokens]
        vectors = self._vectors.of(documents, self._encode)
        return np.array([weights[ids] @ values for ids, values in vectors], dtype=np.float32)

    def _encode(self, names: list[str]) -> list[tuple[NDArray[np.int64], Floats]]:
        vectors: list[tuple[NDArray[np.int64], Floats]] = [(np.zeros(0, np.int64), np.zeros(0, np.float32))] * len(
            names
        )
        for rows, weights in self.encoder.batches(self.documents.of(names)):
            for row, vector in zip(rows, weights[:, : len(self.idf)], strict=True):
                ids = np.flatnonzero(vector)
                vectors[row] = (ids, vector[ids])
        return vectors


class DenseTeacher:
    """A dense bi-encoder: dot products of embeddings."""

    def __init__(self, path: Path, documents: Texts, queries: Texts, device: torch.device) -> None:
        """Raises :class:`ModelError` if the folder is not a supported bi-encoder."""
        self.encoder = DenseEncoder(path, device)
        self.texts = {"document": documents, "query": queries}
        self._vectors: dict[str, VectorCache[NDArray[np.float16]]] = {kind: VectorCache() for kind in self.texts}

    def scores(self, batch: Batch, rows: slice) -> Floats:
        queries = sorted({name for name in batch.query_ids if name is not None})
        documents = self._embed("document", [document.id for document in batch.documents[rows]])
        query_vectors = self._embed("query", queries)
        row_of = {name: row for row, name in enumerate(queries)}
        scores = np.full((len(batch.queries), len(documents)), np.nan, dtype=np.float32)
        for row, name in enumerate(batch.query_ids):
            if name is not None:
                scores[row] = documents @ query_vectors[row_of[name]]
        return scores

    def list_scores(self, query: str, documents: Sequence[str]) -> Floats:
        """(n,) scores of documents for a query, both by id."""
        return np.asarray(self._embed("document", documents) @ self._embed("query", [query])[0], np.float32)

    def _embed(self, kind: str, names: Sequence[str]) -> Floats:
        """(n, H) embeddings, cached in half precision."""

        def encode(missing: list[str]) -> list[NDArray[np.float16]]:
            return [vector.astype(np.float16) for vector in self.encoder.encode(self.texts[kind].of(missing))]

        vectors = [vector.astype(np.float32) for vector in self._vectors[kind].of(names, encode)]
        return np.stack(vectors) if vectors else np.zeros((0, self.encoder.size), np.float32)


class VectorCache(Generic[Vector]):
    """Vectors of texts seen before, at most :data:`VECTORS`; the oldest are dropped first."""

    def __init__(self, most: int | None = None) -> None:
        self._most = VECTORS if most is None else most
        self._vectors: dict[str, Vector] = {}

    def of(self, names: Sequence[str], encode: Callable[[list[str]], list[Vector]]) -> list[Vector]:
        """The vectors of the names in their order; those that are not cached are encoded together."""
        missing = [name for name in dict.fromkeys(names) if name not in self._vectors]
        encoded = dict(zip(missing, encode(missing), strict=True)) if missing else {}
        vectors = [encoded[name] if name in encoded else self._vectors[name] for name in names]
        self._vectors |= encoded
        for name in list(self._vectors)[: max(0, len(self._vectors) - self._most)]:
            del self._vectors[name]
        return vectors
