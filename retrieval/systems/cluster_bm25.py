"""BM25 as a user would set it up on the same cluster: one index per language, with the analyzer for that language."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from osparse.contracts.deployment import BASELINE_META_KEY
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.client import Cluster
from osparse.deployer.cluster.facts import ENGLISH_ANALYZERS, KOREAN_ANALYZERS, first_analyzer
from osparse.deployer.load.bulk import Line, send_bulk
from osparse.deployer.names import baseline_of
from osparse.errors import ClusterError, DeploymentConflictError
from osparse.evaluation.measures import Benchmark, JudgedSet
from osparse.io.progress import progress
from osparse.opensearch_templates import render
from osparse.retrieval.systems.cluster_run import cluster_run
from osparse.retrieval.systems.system import Run, System

log = logging.getLogger("osparse.retrieval.systems.cluster_bm25")

BUILT_IN = {
    "ar": "arabic", "bg": "bulgarian", "bn": "bengali", "ca": "catalan", "cs": "czech", "da": "danish", "de": "german",
    "el": "greek", "es": "spanish", "et": "estonian", "eu": "basque", "fa": "persian", "fi": "finnish", "fr": "french",
    "ga": "irish", "gl": "galician", "hi": "hindi", "hu": "hungarian", "hy": "armenian", "id": "indonesian",
    "it": "italian", "lt": "lithuanian", "lv": "latvian", "nl": "dutch", "no": "norwegian", "nb": "norwegian",
    "nn": "norwegian", "pt": "portuguese", "ro": "romanian", "ru": "russian", "sv": "swedish", "th": "thai",
    "tr": "turkish",
}  # fmt: skip
"""Language -> the analyzer of OpenSearch that is made for it."""
ANALYZERS = {
    **{language: (name, "standard") for language, name in BUILT_IN.items()},
    "ko": KOREAN_ANALYZERS,
    "en": ENGLISH_ANALYZERS,
    "ja": ("kuromoji", "cjk", "standard"),
    "zh": ("smartcn", "cjk", "standard"),
}
"""Language -> analyzers, the best first; any other language gets ``standard``."""


@dataclass(frozen=True)
class Bm25:
    """The indices of the baseline."""

    indices: dict[str, str]
    """Language -> index."""
    analyzers: dict[str, str]
    """Language -> analyzer."""


def analyzers_of(language: str) -> tuple[str, ...]:
    """Those for a language tag such as ``de-AT``, the best first."""
    return ANALYZERS.get(language.lower().partition("-")[0], ("standard",))


def choose_analyzers(cluster: Cluster, data: Benchmark) -> dict[str, str]:
    """Language of the corpus -> the best analyzer for it that the cluster has."""
    api = ClusterApi(cluster)
    return {lang: first_analyzer(api, analyzers_of(lang)) for lang in data.languages}


def prepare_bm25(cluster: Cluster, index: str, data: Benchmark) -> Bm25:
    """Make or find ``<index>-bm25-<lang>`` for each language of the corpus.

    An index of that name that osparse built from other documents is built again.

    Raises:
        DeploymentConflictError: an index of that name exists and osparse did not make it.
    """
    api = ClusterApi(cluster)
    analyzers = choose_analyzers(cluster, data)
    indices = {lang: f"{baseline_of(index)}{re.sub('[^a-z0-9]', '-', lang.lower())}" for lang in data.languages}
    for lang, name in indices.items():
        meta = {"dataset": data.fingerprint, "lang": lang, "analyzer": analyzers[lang]}
        if not _is_whole(api, name, meta, data.languages[lang]):
            _build(api, name, meta, data, lang)
    return Bm25(indices, analyzers)


def _is_whole(api: ClusterApi, name: str, meta: dict[str, str], documents: int) -> bool:
    mapping = api.get_mapping(name)
    if mapping is None:
        return False
    stored_meta = mapping.get(name, {}).get("mappings", {}).get("_meta", {}).get(BASELINE_META_KEY)
    if stored_meta is None:
        raise DeploymentConflictError(
            f"the BM25 baseline needs the index name {name}, which osparse did not make; evaluate without `baseline`, "
            f"or remove the index: DELETE /{name}"
        )
    if stored_meta == meta and api.count(name) == documents:
        return True
    log.info("index %s holds other documents, or not all of them; it is built again", name)
    api.delete_index(name)
    return False


def _build(api: ClusterApi, name: str, meta: dict[str, str], data: Benchmark, lang: str) -> None:
    api.create_index(name, render("bm25_index", analyzer=meta["analyzer"], meta=meta))
    with progress(f"BM25 index {name}", data.languages[lang], "documents") as bar:
        for batch in data.texts():
            rows = [Line(document, {"text": text}) for document, text, text_lang in batch if text_lang == lang]
            if not rows:
                continue
            if failed := send_bulk(api, name, rows):
                raise ClusterError(f"{api.cluster.url} refused {failed[0].id} in index {name}: {failed[0].reason}")
            bar.advance(len(rows))
    api.refresh(name)


class ClusterBm25(System):
    """A plain ``match`` on the text, in indices ``<index>-bm25-<lang>`` of the cluster."""

    name = "bm25"

    def __init__(self, cluster: Cluster, index: str, data: Benchmark) -> None:
        self.cluster, self.index = cluster, index
        self._analyzers = choose_analyzers(cluster, data)
        self.indices: dict[str, str] = {}
        """Language -> index; there after :meth:`prepare`."""

    def key(self) -> dict[str, Any]:
        return {"analyzers": self._analyzers}

    def description(self) -> dict[str, Any]:
        return {"kind": "bm25", "analyzers": self._analyzers}

    def prepare(self, data: Benchmark) -> None:
        self.indices = prepare_bm25(self.cluster, self.index, data).indices

    def run(self, judged: JudgedSet, depth: int) -> Run:
        bodies = {query: render("query_match", text=text, size=depth) for query, text in judged.queries.items()}
        return cluster_run(self.cluster, self.indices[judged.document_lang], bodies, f"BM25 {judged.direction}")

    def timed_search(self, judged: JudgedSet) -> Callable[[str], object]:
        name, api = self.indices[judged.document_lang], ClusterApi(self.cluster)
        return lambda text: api.search(name, {**render("query_match", text=text, size=10), "_source": False})

    def notes(self) -> list[str]:
        from osparse.evaluation.beir import NO_LANGUAGE  # imports polars, which searching does not need

        if NO_LANGUAGE not in self._analyzers:
            return []
        return [
            "BM25 took the standard analyzer, which does not stem, for documents without a language: give the corpus "
            "a lang to compare with the analyzer made for it"
        ]
