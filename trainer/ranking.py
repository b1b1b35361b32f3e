"""The ranking stage: InfoNCE between documents through the encoder and queries looked up in the IDF table.

A query is its distinct tokens and their IDF, so it costs no forward pass, and the loss needs the document weights of
those tokens alone: only their columns of the vocabulary are computed, and a random few for FLOPS.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from osparse.encoder import SparseEncoder
from osparse.trainer.config import Ranking, SparsityConfig
from osparse.trainer.losses import flops, idf_scores, info_nce
from osparse.trainer.padding import Frame, Ids, buckets, window
from osparse.trainer.records import Record, Records, Text
from osparse.trainer.sampling import BatchSampler, nearest
from osparse.trainer.schedules import quadratic_warmup
from osparse.trainer.stage import StepResult

SPAN_TOKENS = (3, 12)
"""Shortest and longest span used as a query."""


@dataclass
class Batch:
    """Documents of a step, and queries with the document each must find."""

    documents: list[Text] = field(default_factory=list)
    inputs: list[Ids] = field(default_factory=list)
    """What of each document is encoded."""
    queries: list[Ids] = field(default_factory=list)
    """Distinct token ids."""
    targets: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    relevant: list[frozenset[str]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    def ask(self, query: Ids, target: int, weight: float, relevant: frozenset[str]) -> None:
        self.queries.append(query)
        self.targets.append(target)
        self.weights.append(weight)
        self.relevant.append(relevant)

    def candidates(self) -> NDArray[np.bool_]:
        """(Q, D): documents in the target's language that are neither known positives nor copies of the target."""
        langs = np.array([d.lang for d in self.documents])
        text_of = np.array([hash(d.ids.tobytes()) for d in self.documents])
        ids = np.array([d.id for d in self.documents])
        found = np.empty((len(self.queries), len(self.documents)), dtype=np.bool_)
        for row, target in enumerate(self.targets):
            known = np.isin(ids, list(self.relevant[row])) | (text_of == text_of[target])
            found[row] = (langs == langs[target]) & ~known
            found[row, target] = True
        return found


class RankingStage:
    """Computes the gradients of one step at a time."""

    def __init__(
        self, encoder: SparseEncoder, config: Ranking, sparsity: SparsityConfig, records: Records,
        idf: NDArray[np.float32], frame: Frame, seed: int,
    ) -> None:  # fmt: skip
        self.encoder, self.config, self.sparsity, self.records, self.frame = encoder, config, sparsity, records, frame
        self.idf = torch.from_numpy(idf)
        self.seed = (seed, 2)
        similar = nearest(records, idf, config.neighbours) if config.neighbours else None
        self.sampler = BatchSampler(records.groups, config.batch, (*self.seed, 0), similar)

    def backward(self, step: int) -> StepResult:
        """Accumulate the gradients of step's loss: InfoNCE + lambda(step) x FLOPS."""
        generator = np.random.default_rng([*self.seed, 1, step])
        batch = self.batch(step, generator)
        asked = np.unique(np.concatenate(batch.queries))  # (C,) sorted
        vocabulary = self.encoder.decoder.weight.shape[0]
        drawn = generator.permutation(vocabulary)[: self.sparsity.columns or vocabulary]
        weights = self._encode(batch.inputs, torch.from_numpy(np.concatenate([asked, drawn])))  # (D, C + drawn)
        sampled = weights[:, len(asked) :]
        device = weights.device
        ranking = info_nce(
            idf_scores(self._query_matrix(batch.queries, asked).to(device), weights[:, : len(asked)]),
            torch.tensor(batch.targets, device=device),
            temperature=self.config.temperature,
            candidates=torch.from_numpy(batch.candidates()).to(device),
            weight=torch.tensor(batch.weights, device=device),
        )
        scale = vocabulary / len(drawn)
        penalty = flops(sampled, threshold=self.sparsity.threshold, scale=scale)
        weight = quadratic_warmup(step, self.config.steps, weight=self.sparsity.weight, warmup=self.sparsity.warmup)
        loss = ranking + weight * penalty
        loss.backward()  # type: ignore[no-untyped-call]
        parts = {
            "loss": float(loss.detach()),
            "ranking": float(ranking.detach()),
            "flops": float(penalty.detach()),
            "lambda": weight,
            "nonzeros": float((sampled.detach() > 0).sum()) * scale / len(batch.documents),
        }
        return StepResult(parts, batch.names)

    def finish(self) -> None:
        """Nothing is left to do."""

    def batch(self, step: int, generator: np.random.Generator) -> Batch:
        """One document per language of each record, all its queries, and spans of the documents as more queries."""
        batch = Batch()
        for number in self.sampler.at(step):
            record = self.records.records[number]
            batch.names += [query.id for query in record.queries]
            first = len(batch.documents)
            chosen = self._documents(record, generator)
            batch.documents += chosen
            limit = self.config.max_length - self.frame.size
            batch.inputs += [window(document.ids, limit, generator) for document in chosen]
            for place, document in enumerate(chosen, start=first):
                for query in record.queries:
                    relevant = self.records.relevant[query.id]
                    if document.id in relevant:
                        batch.ask(query.ids, place, 1.0, relevant)
                sources = [d for d in chosen if d is not document] or [document]
                for source in sources:
                    for _ in range(self.config.spans):
                        batch.ask(span(source.ids, generator), place, self.config.span_weight, frozenset())
        return batch

    def _documents(self, record: Record, generator: np.random.Generator) -> list[Text]:
        chosen = []
        for lang in self.records.languages:
            there = [document for document in record.documents if document.lang == lang]
            if there:
                chosen.append(there[int(generator.integers(len(there)))])
        return chosen

    def _encode(self, inputs: list[Ids], columns: Tensor) -> Tensor:
        """(D, C) weights of the columns, in the order of ``inputs``."""
        device = self.encoder.keep.device
        columns = columns.to(device)
        parts, order = [], []
        for chosen, ids, mask in buckets(inputs, self.frame):
            parts.append(self.encoder(ids.to(device), mask.to(device), columns))
            order.append(chosen)
        return torch.cat(parts)[torch.from_numpy(np.argsort(np.concatenate(order))).to(device)]

    def _query_matrix(self, queries: list[Ids], columns: Ids) -> Tensor:
        """(Q, C) idf(t) where the query holds t."""
        matrix = torch.zeros(len(queries), len(columns))
        for row, ids in enumerate(queries):
            matrix[row, torch.from_numpy(np.searchsorted(columns, ids))] = self.idf[torch.from_numpy(ids)]
        return matrix


def span(ids: Ids, generator: np.random.Generator) -> Ids:
    """Distinct tokens of a random span, as a query has them."""
    low, high = SPAN_TOKENS
    size = int(generator.integers(low, high + 1))
    start = int(generator.integers(0, max(1, len(ids) - size + 1)))
    return np.array(list(dict.fromkeys(ids[start : start + size].tolist())), dtype=np.int64)
