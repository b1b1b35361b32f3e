"""BM25 as a user would set it up on the same cluster: one index per language, the analyzer made for it."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass

from osparse.contracts.deployment import BASELINE_META_KEY
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.client import Cluster
from osparse.deployer.cluster.facts import ENGLISH_ANALYZERS, KOREAN_ANALYZERS, first_analyzer
from osparse.deployer.load.bulk import Line, send_bulk
from osparse.deployer.names import baseline_of
from osparse.errors import ClusterError, DeploymentConflictError
from osparse.evaluation.measures import ASKED, Benchmark, JudgedSet
from osparse.io.progress import progress
from osparse.opensearch_templates import render
from osparse.retrieval.cluster_run import cluster_run

log = logging.getLogger("osparse.retrieval.bm25_baseline")

ANALYZERS = {"ko": KOREAN_ANALYZERS, "en": ENGLISH_ANALYZERS}
"""Language -> analyzers, the best first; any other language gets ``standard``."""


@dataclass(frozen=True)
class Bm25:
    """The baseline's indices."""

    indices: dict[str, str]
    """Language -> index."""
    analyzers: dict[str, str]
    """Language -> analyzer."""


def choose_analyzers(cluster: Cluster, data: Benchmark) -> dict[str, str]:
    """Language of the corpus -> the best analyzer for it that the cluster has."""
    api = ClusterApi(cluster)
    return {lang: first_analyzer(api, ANALYZERS.get(lang, ("standard",))) for lang in data.languages}


def prepare_bm25(cluster: Cluster, index: str, data: Benchmark) -> Bm25:
    """Make or find ``<index>-bm25-<lang>`` for each language of the corpus.

    An index of that name that osparse made from other documents is made again.

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
    found = api.get_mapping(name)
    if found is None:
        return False
    there = found.get(name, {}).get("mappings", {}).get("_meta", {}).get(BASELINE_META_KEY)
    if there is None:
        raise DeploymentConflictError(
            f"the BM25 baseline wants the index name {name}, which osparse did not make; evaluate without --baseline, "
            f"or remove it: DELETE /{name}"
        )
    if there == meta and api.count(name) == documents:
        return True
    log.info("index %s holds other documents or not all of them: making it again", name)
    api.delete_index(name)
    return False


def _build(api: ClusterApi, name: str, meta: dict[str, str], data: Benchmark, lang: str) -> None:
    api.create_index(name, render("bm25_index", analyzer=meta["analyzer"], meta=meta))
    with progress(f"BM25 index {name}", data.languages[lang], "documents") as bar:
        for batch in data.texts():
            rows = [Line(document, {"text": text}) for document, text, found in batch if found == lang]
            if not rows:
                continue
            if failed := send_bulk(api, name, rows):
                raise ClusterError(f"{api.cluster.url} refused {failed[0].id} in index {name}: {failed[0].reason}")
            bar.advance(len(rows))
    api.refresh(name)


def bm25_run(cluster: Cluster, bm25: Bm25, judged: JudgedSet) -> dict[str, list[str]]:
    """Query id -> document ids, best first: a plain ``match`` on the text."""
    bodies = {query: render("query_match", text=text, size=ASKED) for query, text in judged.queries.items()}
    return cluster_run(cluster, bm25.indices[judged.document_lang], bodies, f"ask BM25 {judged.direction}")
