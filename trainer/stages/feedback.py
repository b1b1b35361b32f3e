"""Judged queries as a search with feedback asks them: their tokens, and what stored weights of their first hits join.

Every so many steps all training documents are encoded as they would be indexed (in evaluation mode, with the lexical
table, rounded as the server rounds them, pruned by the head; the ratio that ``head.nonzeros`` sets is found only at
the end). Each judged query searches those in the language of its answers. What joins it follows from the formula of a
served search (osparse.formula.feedback). Until the next refresh it is a constant, as the vectors that an index stores
are constants during a search: gradients reach documents as candidates only. To let them through the feedback too,
each query's first hits would have to be encoded in every step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from osparse.encoders.torch_encoder import IdsEncoder
from osparse.evaluation.top_k import TopK
from osparse.formula.feedback import joining
from osparse.formula.lucene_rounding import quantise
from osparse.trainer.compute.distributed import from_main, main_process
from osparse.trainer.config.stage_config import QueryFeedback
from osparse.trainer.data.batch import Batch
from osparse.trainer.data.padding import Ids, SpecialTokens
from osparse.trainer.data.training_records import TrainingRecords

BLOCK = 256
"""Documents that are encoded and searched at a time."""
Floats = NDArray[np.float32]


class Joined(NamedTuple):
    """What joins a query."""

    ids: Ids
    weights: Floats


NOTHING = Joined(np.zeros(0, np.int64), np.zeros(0, np.float32))


class FeedbackQueries:
    """What joins each judged query, by the language of the document that it must find."""

    def __init__(
        self, config: QueryFeedback, records: TrainingRecords, special: SpecialTokens, vocabulary: int
    ) -> None:
        """``vocabulary``: V, the query weights."""
        self.config, self.records, self.special = config, records, special
        self.row_of: dict[tuple[str, str], int] = {}
        """(document language, query id) -> row of the tables below."""
        for record in records.records:
            for query in record.queries:
                relevant = records.relevant[query.id]
                for lang in sorted({document.lang for document in record.documents if document.id in relevant}):
                    self.row_of.setdefault((lang, query.id), len(self.row_of))
        self.vocabulary = vocabulary
        self.ids = torch.zeros(len(self.row_of), config.tokens, dtype=torch.int32)
        self.weights = torch.zeros(len(self.row_of), config.tokens)
        """(R, tokens); 0 where fewer tokens join."""

    def refresh(self, encoder: IdsEncoder, idf: Floats) -> None:
        """Encode the documents and search them again, with query weights ``idf`` (V,); once for all processes."""
        self.ids, self.weights = from_main(self._searched(encoder, idf) if main_process() else None)

    def of(self, batch: Batch) -> list[Joined]:
        """Of each query of the batch; nothing for a span or a translation, which are drawn anew each step."""
        found = []
        for query in batch.queries:
            key = None if query.text is None else (batch.columns[query.target].document.lang, query.text.id)
            row = None if key is None else self.row_of.get(key)
            found.append(NOTHING if row is None else self._row(row))
        return found

    def state_dict(self) -> dict[str, Any]:
        return {"feedback_ids": self.ids, "feedback_weights": self.weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.ids, self.weights = state["feedback_ids"], state["feedback_weights"]

    def _row(self, row: int) -> Joined:
        weights = self.weights[row].numpy()
        return Joined(self.ids[row].numpy()[weights > 0].astype(np.int64), weights[weights > 0])

    def _searched(self, encoder: IdsEncoder, idf: Floats) -> tuple[torch.Tensor, torch.Tensor]:
        ids, weights = np.zeros(self.ids.shape, np.int32), np.zeros(self.weights.shape, np.float32)
        for lang in self.records.languages:
            rows, queries = self._queries(lang, idf)
            if not len(rows):
                continue
            best, stored = TopK(len(rows), self.config.documents), []
            for first, block in self._blocks(lang, encoder):
                scores = (queries @ block.T).toarray()
                best.add(np.where(scores > 0, scores, -np.inf), first)
                stored.append(block)
            hits = zip(*best.result(), strict=True)
            whole = sparse.vstack(stored).tocsr()
            sums = np.asarray(queries.sum(1)).ravel()
            for row, own_sum, (scores, numbers) in zip(rows, sums, hits, strict=True):
                joined = _joined(whole[numbers[numbers >= 0]], scores[numbers >= 0], idf, float(own_sum), self.config)
                ids[row, : len(joined.ids)], weights[row, : len(joined.ids)] = joined
        return torch.from_numpy(ids), torch.from_numpy(weights)

    def _queries(self, lang: str, idf: Floats) -> tuple[list[int], sparse.csr_matrix]:
        """Rows of the queries that search documents of a language, and their (Q, V) weights."""
        rows, tokens = [], []
        for record in self.records.records:
            for query in record.queries:
                if (lang, query.id) in self.row_of:
                    rows.append(self.row_of[lang, query.id])
                    tokens.append(query.ids)
        ids = np.concatenate(tokens) if tokens else NOTHING.ids
        starts = np.cumsum([0, *map(len, tokens)])
        return rows, sparse.csr_matrix((idf[ids], ids, starts), shape=(len(rows), len(idf)))

    def _blocks(self, lang: str, encoder: IdsEncoder) -> Iterator[tuple[int, sparse.csr_matrix]]:
        """(number of the first, (B, V) stored weights) of a language, by rising id, which breaks ties."""
        places = sorted(
            (document.id, number, place)
            for number, record in enumerate(self.records.records)
            for place, document in enumerate(record.documents)
            if document.lang == lang
        )
        waiting, first = iter(places), 0
        while part := list(islice(waiting, BLOCK)):
            yield first, self._stored([self.records.records[n].documents[place].ids for _, n, place in part], encoder)
            first += len(part)

    def _stored(self, documents: Sequence[Ids], encoder: IdsEncoder) -> sparse.csr_matrix:
        """(D, V) weights of documents as an index keeps them."""
        limit = encoder.encoder.head.max_length - self.special.size
        ids = [np.concatenate([self.special.before, d[:limit], self.special.after]).tolist() for d in documents]
        weights = np.zeros((len(ids), self.vocabulary), np.float32)
        for rows, part in encoder.batches_of_ids(ids):
            weights[rows] = part[:, : self.vocabulary]
        stored = sparse.csr_matrix(weights)
        stored.data = quantise(stored.data)
        return stored


def _joined(hits: sparse.csr_matrix, scores: Floats, idf: Floats, own_sum: float, config: QueryFeedback) -> Joined:
    """Of (H, V) stored weights and the scores of a query's first hits; nothing without hits."""
    if not hits.shape[0]:
        return NOTHING
    ids = np.unique(hits.indices).astype(np.int64)
    rows = [row.astype(np.float64) * idf[ids] for row in hits.toarray()[:, ids]]
    weights = joining(own_sum, rows, scores.tolist(), config)
    return Joined(ids[weights > 0], weights[weights > 0].astype(np.float32))
