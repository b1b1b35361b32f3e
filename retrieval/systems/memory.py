"""A model directory or a bundle without a cluster: the corpus is encoded here and ranked exactly in memory."""

from __future__ import annotations

import logging
from abc import abstractmethod
from pathlib import Path
from typing import Any

from osparse.contracts.bundle import Bundle
from osparse.contracts.model import Model
from osparse.contracts.seen import SeenTexts
from osparse.evaluation.encoder_pair import DocumentEncoder, EncoderPair, encoder_pair
from osparse.evaluation.exact_run import exact_run
from osparse.evaluation.exact_search import InvertedIndex
from osparse.evaluation.measures import Benchmark, JudgedSet
from osparse.formula.query_encoder import QueryEncoder
from osparse.io.progress import progress
from osparse.retrieval.systems.system import Run, System

log = logging.getLogger("osparse.retrieval.systems.memory")

QUANTISED = "as the index stores them (9 significant bits)"
FULL = "full precision (float32)"


class MemorySystem(System):
    """A document encoder and a query encoder, with an inverted index between them."""

    learns = True
    index: InvertedIndex
    """Of all documents; there after :meth:`prepare`, as ``queries``."""
    queries: QueryEncoder

    def __init__(self, name: str, kind: str, fingerprint: str, *, quantised: bool) -> None:
        self.name, self.kind, self.fingerprint, self.quantised = name, kind, fingerprint, quantised

    def key(self) -> dict[str, Any]:
        return {"fingerprint": self.fingerprint, "quantised": self.quantised}

    def description(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "fingerprint": self.fingerprint,
            "weights": QUANTISED if self.quantised else FULL,
        }

    @abstractmethod
    def encoders(self) -> EncoderPair:
        """The encoders of documents and of queries."""

    def prepare(self, data: Benchmark) -> None:
        documents, self.queries = self.encoders()
        self.index = index_corpus(documents, data, quantised=self.quantised)

    def run(self, judged: JudgedSet, depth: int) -> Run:
        return exact_run(self.index, self.queries, judged, depth)

    def non_zeros(self) -> dict[str, float]:
        sizes = self.index.non_zeros()
        return {"mean": float(sizes.mean()), "max": float(sizes.max()), "documents": len(sizes)}


class ModelSystem(MemorySystem):
    """A model directory; needs torch."""

    def __init__(self, model: Model, *, quantised: bool = True, device: str = "cpu") -> None:
        self.model, self.device = model, device
        super().__init__(f"model {model.path.resolve().name}", "model", model.fingerprint, quantised=quantised)

    def encoders(self) -> EncoderPair:
        return encoder_pair(self.model, device=self.device)

    def training_texts(self) -> SeenTexts | None:
        return self.model.training_texts()

    def prepare(self, data: Benchmark) -> None:
        if data.split == "validation" and self.model.metrics.get("trained_on"):
            log.warning(
                "%s was trained on the validation split too, so its figures on that split say nothing about other "
                "queries",
                self.model.path,
            )
        super().prepare(data)


class BundleSystem(MemorySystem):
    """A bundle by its ONNX encoder; needs no torch."""

    def __init__(self, bundle: Bundle, *, quantised: bool = True) -> None:
        self.bundle = bundle
        super().__init__(f"bundle {bundle.path.resolve().name}", "bundle", bundle.fingerprint, quantised=quantised)

    def encoders(self) -> EncoderPair:
        return encoder_pair(self.bundle)

    def training_texts(self) -> SeenTexts | None:
        return self.bundle.training_texts()


def model_system(model: Model | Path | str, *, quantised: bool, device: str) -> ModelSystem:
    return ModelSystem(model if isinstance(model, Model) else Model.open(model), quantised=quantised, device=device)


def bundle_system(bundle: Bundle | Path | str, *, quantised: bool) -> BundleSystem:
    return BundleSystem(bundle if isinstance(bundle, Bundle) else Bundle.open(bundle), quantised=quantised)


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
    documents, _ = ModelSystem(model, device=device).encoders()
    return index_corpus(documents, data, quantised=quantised)
