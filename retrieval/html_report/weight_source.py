"""Where the page takes token weights from: a deployed index, or a bundle whose documents were encoded here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osparse.contracts.bundle import Bundle
from osparse.contracts.deployment import stored_vectors, token_of
from osparse.deployer.cluster.api import ClusterApi
from osparse.encoders.onnx_unpruned import UnprunedEncoder
from osparse.formula.query_encoder import QueryEncoder
from osparse.io.progress import progress
from osparse.retrieval.systems.cluster_index import ClusterIndex
from osparse.retrieval.systems.memory import BundleSystem
from osparse.retrieval.why_not import unpruned_encoder

PAGE = 500
"""Documents read in one request."""


@dataclass(frozen=True, eq=False)
class IndexStatistics:
    """How large the documents and the posting lists are."""

    non_zeros: NDArray[np.int64]
    """(N,) weights of each document."""
    posting_lists: dict[str, int]
    """Token -> number of documents that have a weight for it."""
    bytes: int | None
    """Of the primary shards; None where nothing is stored."""

    @property
    def documents(self) -> int:
        return len(self.non_zeros)


class WeightSource(ABC):
    """Query weights, document weights and encoder of the system that the page is about."""

    encoder: QueryEncoder

    @abstractmethod
    def query(self, text: str) -> dict[str, float]:
        """Raw token -> weight of a query."""

    @abstractmethod
    def load(self, ids: frozenset[str]) -> None:
        """Get the weights of these documents for :meth:`document`, and forget those of others."""

    @abstractmethod
    def document(self, document_id: str, query: Mapping[str, float]) -> dict[str, float] | None:
        """Raw token -> weight of a loaded document, in pieces those of its best piece; None if it is not there."""

    @abstractmethod
    def language(self, document_id: str) -> str | None:
        """What the index stores as the language of a loaded document; None where no filter looks at it."""

    @abstractmethod
    def statistics(self) -> IndexStatistics:
        """Of all documents."""

    @abstractmethod
    def unpruned(self) -> UnprunedEncoder | None:
        """The document encoder without its pruning; None where only the cluster has it."""

    @property
    def reads_whole_texts(self) -> bool:
        """Whether long texts are indexed in pieces, so that nothing is cut off."""
        return False


class ClusterWeights(WeightSource):
    """A deployed index."""

    def __init__(self, system: ClusterIndex, bundle: Bundle | None) -> None:
        """``bundle``: the deployed one, where the cluster does not hold its ONNX encoder."""
        self._searcher, self._bundle = system.searcher, bundle
        self._filtered = len(system.data.languages) > 1
        self._api = ClusterApi(system.cluster)
        self._sources: dict[str, dict[str, Any]] = {}
        self.encoder = self._searcher.encoder

    def query(self, text: str) -> dict[str, float]:
        return self._searcher.weights(text)

    def load(self, ids: frozenset[str]) -> None:
        self._sources = {i: source for i, source in self._sources.items() if i in ids}
        wanted = [i for i in ids if i not in self._sources]
        included = {"_source_includes": f"{self._searcher.deployment.field},lang"}
        with progress("read documents", len(wanted), "documents") as bar:
            for start in range(0, len(wanted), PAGE):
                batch = wanted[start : start + PAGE]
                for row in self._api.get_documents(self._searcher.index, batch, included):
                    if row.get("found"):
                        self._sources[row["_id"]] = row.get("_source", {})
                bar.advance(len(batch))

    def document(self, document_id: str, query: Mapping[str, float]) -> dict[str, float] | None:
        source = self._sources.get(document_id)
        return None if source is None else self._searcher.document_weights(source, query)

    def language(self, document_id: str) -> str | None:
        return str(self._sources.get(document_id, {}).get("lang") or "") if self._filtered else None

    def statistics(self) -> IndexStatistics:
        deployment, tokens = self._searcher.deployment, self.encoder.lexicon.tokens
        sizes, lists = list[int](), Counter[str]()
        index = self._searcher.index
        with (
            progress(f"read weights of {index}", self._api.count(index), "documents") as bar,
            closing(self._api.pages(index, PAGE, {"includes": [deployment.field]})) as pages,
        ):
            for hit in (hit for hits in pages for hit in hits):
                vectors = stored_vectors(hit.get("_source", {}), deployment.field)
                sizes.append(sum(map(len, vectors)))
                lists.update({feature for vector in vectors for feature in vector})
                bar.advance()
        by_id = deployment.vector == "sparse_vector"
        named = {tokens[int(f)] if by_id else token_of(f, deployment.key_style): n for f, n in lists.items()}
        return IndexStatistics(np.array(sizes, dtype=np.int64), named, self._api.store_size(index))

    def unpruned(self) -> UnprunedEncoder | None:
        return unpruned_encoder(self._searcher, self._bundle)

    @property
    def reads_whole_texts(self) -> bool:
        return self._searcher.deployment.chunks


class BundleWeights(WeightSource):
    """A bundle that was measured in memory."""

    def __init__(self, system: BundleSystem) -> None:
        """``system``: after its :meth:`prepare`."""
        self._system = system
        self._index, self.encoder = system.index, system.queries
        self._vectors: dict[str, dict[str, float]] = {}

    def query(self, text: str) -> dict[str, float]:
        return self.encoder.encode(text)

    def load(self, ids: frozenset[str]) -> None:
        tokens = self.encoder.lexicon.tokens
        vectors = self._index.vectors(ids)
        self._vectors = {i: {tokens[t]: weight for t, weight in vector.items()} for i, vector in vectors.items()}

    def document(self, document_id: str, query: Mapping[str, float]) -> dict[str, float] | None:
        return self._vectors.get(document_id)

    def language(self, document_id: str) -> str | None:
        return None

    def statistics(self) -> IndexStatistics:
        tokens: Sequence[str] = self.encoder.lexicon.tokens
        lengths = self._index.document_frequencies()
        lists = {tokens[i]: length for i, length in enumerate(lengths.tolist()) if length}
        return IndexStatistics(self._index.non_zeros(), lists, None)

    def unpruned(self) -> UnprunedEncoder | None:
        return UnprunedEncoder(self._system.bundle.zip_path("onnx"))
