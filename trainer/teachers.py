"""Teachers: what else scores a query against the documents of a batch. Each document is encoded once and remembered.

A teacher reads whole texts, also where the student encodes a window of one. A span query has no text: only BM25, which
reads token ids, scores it. What a teacher cannot score is NaN and takes no part in distillation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from osparse.dataset import Dataset
from osparse.dense import DenseEncoder
from osparse.encoder import TextEncoder
from osparse.encoding import QueryEncoder
from osparse.errors import ConfigError, DatasetError
from osparse.lexicon import load_tokenizer
from osparse.model import Model
from osparse.trainer.batch import Batch
from osparse.trainer.config import Teacher
from osparse.trainer.records import Records

Floats = NDArray[np.float32]
K1, B = 1.2, 0.75
"""BM25's saturation and length normalisation; Lucene's defaults."""


class Scorer(Protocol):
    """One teacher."""

    def scores(self, batch: Batch, rows: slice) -> Floats:
        """(Q, n) of all queries and the documents ``rows`` of the batch; NaN where it has none."""


def make_scorer(teacher: Teacher, dataset: Dataset, records: Records, device: torch.device) -> Scorer:
    """Raises :class:`ConfigError` if its folder is none, :class:`DatasetError` if the dataset has no scores."""
    if teacher.kind == "bm25":
        return Bm25Teacher(records)
    if teacher.kind == "dataset":
        return DatasetTeacher(records, teacher.scorer)
    path = teacher.path
    if path is None or not path.is_dir():
        raise ConfigError("distillation.teachers", [f"{path} is no folder of a {teacher.kind} teacher"])
    texts = Texts(dataset)
    if teacher.kind == "sparse":
        return SparseTeacher(path, texts, device)
    return DenseTeacher(path, texts, device)


class Texts:
    """Texts of queries and documents, by id."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

    @cached_property
    def queries(self) -> Mapping[str, str]:
        return dict(self._dataset.queries.select("id", "text").collect().rows())

    @cached_property
    def documents(self) -> Mapping[str, str]:
        return dict(self._dataset.documents.select("id", "text").collect().rows())


class DatasetTeacher:
    """Scores that were computed before and lie in the dataset's candidates."""

    def __init__(self, records: Records, scorer: str | None) -> None:
        """Raises :class:`DatasetError` without scores of the scorer, or with no or several teachers and none named."""
        there = sorted({name for found in records.candidates.values() for name in found.scores})
        teachers = sorted({name for found in records.candidates.values() for name in found.teachers})
        if scorer is None and len(teachers) == 1:
            scorer = teachers[0]
        if scorer not in there:
            wanted = (
                "a scorer must be named (teachers.0.scorer)" if scorer is None and there else f"no scores of {scorer!r}"
            )
            raise DatasetError(
                f"teacher dataset: {wanted}; the train split's candidates have scores of: {', '.join(there) or 'none'}"
            )
        self.known = {query: found.scores.get(scorer, {}) for query, found in records.candidates.items()}

    def scores(self, batch: Batch, rows: slice) -> Floats:
        found = np.full((len(batch.queries), len(batch.documents[rows])), np.nan, dtype=np.float32)
        for row, name in enumerate(batch.query_ids):
            known = self.known.get(name or "", {})
            for column, document in enumerate(batch.documents[rows]):
                found[row, column] = known.get(document.id, np.nan)
        return found


class Bm25Teacher:
    """BM25 over the student's own tokens (Robertson and Zaragoza 2009, section 3.4; Lucene's IDF), within a language.

    It says nothing of a document in another language than the query's, nor of spans where there are several languages.
    """

    def __init__(self, records: Records) -> None:
        documents = [document for record in records.records for document in record.documents]
        self.lang_of_spans = records.languages[0] if len(records.languages) == 1 else ""
        vocabulary = 1 + max(int(document.ids.max()) for document in documents)
        self.idf: dict[str, Floats] = {}
        self.mean_length: dict[str, float] = {}
        for lang in records.languages:
            here = [document.ids for document in documents if document.lang == lang]
            frequency = np.zeros(vocabulary)
            for ids in here:
                frequency[np.unique(ids)] += 1
            self.idf[lang] = np.log1p((len(here) - frequency + 0.5) / (frequency + 0.5)).astype(np.float32)
            self.mean_length[lang] = float(np.mean([len(ids) for ids in here]))

    def scores(self, batch: Batch, rows: slice) -> Floats:
        here = batch.documents[rows]
        found = np.full((len(batch.queries), len(here)), np.nan, dtype=np.float32)
        langs = np.array([query.text.lang if query.text else self.lang_of_spans for query in batch.queries])
        for column, document in enumerate(here):
            asked = np.flatnonzero(langs == document.lang)
            found[asked, column] = self._column([batch.queries[row].ids for row in asked], document.lang, document.ids)
        return found

    def _column(self, queries: Sequence[NDArray[np.int64]], lang: str, ids: NDArray[np.int64]) -> Floats:
        idf = self.idf[lang]
        frequency = np.bincount(ids, minlength=len(idf))[: len(idf)]
        length = K1 * (1 - B + B * len(ids) / self.mean_length[lang])
        weights = idf * frequency * (K1 + 1) / (frequency + length)
        return np.array([weights[query[query < len(idf)]].sum() for query in queries], dtype=np.float32)


class SparseTeacher:
    """A trained sparse model: its document vectors, its own tokenizer and query weights."""

    def __init__(self, path: Path, texts: Texts, device: torch.device) -> None:
        """Raises :class:`ModelError` if the folder is no model."""
        model = Model.open(path)
        self.encoder = TextEncoder.open(model, device=str(device))
        self.query = QueryEncoder(load_tokenizer(model.path / "tokenizer.json"), model.lexicon)
        self.idf = model.lexicon.idf
        self.texts = texts
        self._vectors: dict[str, tuple[NDArray[np.int64], Floats]] = {}

    def scores(self, batch: Batch, rows: slice) -> Floats:
        documents = [document.id for document in batch.documents[rows]]
        self._encode([name for name in documents if name not in self._vectors])
        matrix = np.zeros((len(self.idf), len(documents)), dtype=np.float32)
        for column, name in enumerate(documents):
            ids, weights = self._vectors[name]
            matrix[ids, column] = weights
        found = np.full((len(batch.queries), len(documents)), np.nan, dtype=np.float32)
        for row, query in enumerate(batch.query_ids):
            if query is not None:
                asked = self.query.ids(self.texts.queries[query])
                found[row] = self.idf[asked] @ matrix[asked]
        return found

    def _encode(self, names: list[str]) -> None:
        if names:
            for rows, weights in self.encoder.batches([self.texts.documents[name] for name in names]):
                for row, vector in zip(rows, weights[:, : len(self.idf)], strict=True):
                    ids = np.flatnonzero(vector)
                    self._vectors[names[row]] = (ids, vector[ids])


class DenseTeacher:
    """A dense bi-encoder: dot products of embeddings."""

    def __init__(self, path: Path, texts: Texts, device: torch.device) -> None:
        """Raises :class:`ModelError` if the folder is no bi-encoder that is known here."""
        self.encoder, self.texts = DenseEncoder(path, device), texts
        self._vectors: dict[tuple[str, str], NDArray[np.float16]] = {}

    def scores(self, batch: Batch, rows: slice) -> Floats:
        queries = sorted({name for name in batch.query_ids if name is not None})
        documents = self._embed("document", [document.id for document in batch.documents[rows]], self.texts.documents)
        asked = self._embed("query", queries, self.texts.queries)
        place = {name: row for row, name in enumerate(queries)}
        found = np.full((len(batch.queries), len(documents)), np.nan, dtype=np.float32)
        for row, name in enumerate(batch.query_ids):
            if name is not None:
                found[row] = documents @ asked[place[name]]
        return found

    def _embed(self, kind: str, names: Sequence[str], texts: Mapping[str, str]) -> Floats:
        """(n, H) embeddings, encoding those that were not met before; remembered in half precision."""
        missing = [name for name in names if (kind, name) not in self._vectors]
        for name, vector in zip(missing, self.encoder.encode([texts[name] for name in missing]), strict=True):
            self._vectors[kind, name] = vector.astype(np.float16)
        found = [self._vectors[kind, name].astype(np.float32) for name in names]
        return np.stack(found) if found else np.zeros((0, self.encoder.size), np.float32)
