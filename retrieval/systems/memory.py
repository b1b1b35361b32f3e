"""A model directory or a bundle without a cluster: the corpus is encoded here and ranked exactly in memory."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from osparse.contracts.bundle import Bundle
from osparse.contracts.model import Model
from osparse.contracts.seen import SeenTexts
from osparse.evaluation.encoder_pair import DocumentEncoder, encoder_pair
from osparse.evaluation.exact_run import exact_run
from osparse.evaluation.exact_search import InvertedIndex
from osparse.evaluation.measures import Benchmark, JudgedSet
from osparse.formula.query_encoder import QueryEncoder
from osparse.io.progress import progress
from osparse.retrieval.systems.block_ranking import RankedCorpus, rank_corpus
from osparse.retrieval.systems.system import Run, System

log = logging.getLogger("osparse.retrieval.systems.memory")

QUANTISED = "as the index stores them (9 significant bits)"
FULL = "full precision (float32)"


class MemorySystem(System):
    """A document encoder and a query encoder, with an inverted index between them or a ranking block by block."""

    learns = True
    index: InvertedIndex
    """Of all documents; there after :meth:`prepare` without ``processes``, as ``queries``."""
    queries: QueryEncoder

    def __init__(
        self, source: Model | Bundle, *, quantised: bool = True, device: str = "cpu", processes: int | None = None
    ) -> None:
        """``processes``: rank block by block in so many, see :mod:`osparse.retrieval.systems.block_ranking`."""
        self.kind = "model" if isinstance(source, Model) else "bundle"
        self.name, self.fingerprint = f"{self.kind} {source.path.resolve().name}", source.fingerprint
        self.source, self.quantised, self.device, self.processes = source, quantised, device, processes
        self._ranked: tuple[int, RankedCorpus] | None = None

    def key(self) -> dict[str, Any]:
        return {"fingerprint": self.fingerprint, "quantised": self.quantised}

    def description(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "fingerprint": self.fingerprint,
            "weights": QUANTISED if self.quantised else FULL,
        }

    def prepare(self, data: Benchmark) -> None:
        if isinstance(self.source, Model) and data.split == "validation" and self.source.metrics.get("trained_on"):
            log.warning(
                "%s was trained on the validation split too, so its figures on that split say nothing about other "
                "queries",
                self.source.path,
            )
        self.data = data
        if self.processes is None:
            documents, self.queries = encoder_pair(self.source, device=self.device)
            self.index = index_corpus(documents, data, quantised=self.quantised)

    def run(self, judged: JudgedSet, depth: int) -> Run:
        if self.processes is None:
            return exact_run(self.index, self.queries, judged, depth)
        directions = [one.direction for one in self.data.sets]
        return self._ranking(depth, self.processes).runs[directions.index(judged.direction)]

    def _ranking(self, depth: int, processes: int) -> RankedCorpus:
        """Of all judged sets by one pass over the corpus, which is kept for the next set."""
        if self._ranked is None or self._ranked[0] != depth:
            ranked = rank_corpus(self.source, self.data, depth, processes, quantised=self.quantised, device=self.device)
            self._ranked = depth, ranked
        return self._ranked[1]

    def non_zeros(self) -> dict[str, float]:
        if self._ranked is not None:
            ranked = self._ranked[1]
            mean = ranked.weights / ranked.documents
            return {"mean": mean, "max": float(ranked.largest), "documents": ranked.documents}
        sizes = self.index.non_zeros()
        return {"mean": float(sizes.mean()), "max": float(sizes.max()), "documents": len(sizes)}

    def training_texts(self) -> SeenTexts | None:
        return self.source.training_texts()


class BundleSystem(MemorySystem):
    """A bundle by its ONNX encoder; needs no torch."""

    def __init__(self, bundle: Bundle, *, quantised: bool = True, processes: int | None = None) -> None:
        super().__init__(bundle, quantised=quantised, processes=processes)
        self.bundle = bundle


def model_system(
    model: Model | Path | str, *, quantised: bool, device: str, processes: int | None = None
) -> MemorySystem:
    """A model directory; needs torch."""
    opened = model if isinstance(model, Model) else Model.open(model)
    return MemorySystem(opened, quantised=quantised, device=device, processes=processes)


def bundle_system(bundle: Bundle | Path | str, *, quantised: bool, processes: int | None = None) -> BundleSystem:
    opened = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
    return BundleSystem(opened, quantised=quantised, processes=processes)


def index_corpus(encoder: DocumentEncoder, data: Benchmark, *, quantised: bool) -> InvertedIndex:
    """All documents of the benchmark in one inverted index over token ids."""
    index = InvertedIndex(quantised=quantised)
    with progress("encode documents", sum(data.languages.values()), "documents") as bar:
        for batch in data.texts():
            for rows, weights in encoder.batches([text for _, text, _ in batch]):
                index.add([batch[row][0] for row in rows], weights)
                bar.advance(len(rows))
    return index


def encode_corpus(model: Model, data: Benchmark, *, quantised: bool, device: str = "cpu") -> InvertedIndex:
    """All documents of the benchmark, encoded by a model, in one inverted index over token ids."""
    return index_corpus(encoder_pair(model, device=device).documents, data, quantised=quantised)
