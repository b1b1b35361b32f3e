"""A deployed index as a system to evaluate."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from osparse.contracts.seen import SeenTexts
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.client import Cluster
from osparse.deployer.load.bundle_store import fetch_part, stored_parts
from osparse.errors import AccessError, ClusterError, InputError
from osparse.evaluation.measures import Benchmark, JudgedSet
from osparse.opensearch_templates import render
from osparse.retrieval.searcher import Searcher
from osparse.retrieval.serving.settings import Feedback
from osparse.retrieval.systems.cluster_run import cluster_run, non_zeros
from osparse.retrieval.systems.memory import QUANTISED
from osparse.retrieval.systems.system import Run, System

log = logging.getLogger("osparse.retrieval.systems.cluster_index")


class ClusterIndex(System):
    """What a deployed index answers; imports no torch.

    Raises:
        InputError: the index is empty.
        ClusterError: there is no such index, or osparse did not deploy it.
    """

    learns = True

    def __init__(self, cluster: Cluster, index: str, data: Benchmark, feedback: Feedback | None = None) -> None:
        """``feedback`` joins the search setting that the index's ``_meta`` records."""
        self.name, self.cluster, self.index, self.data = f"index {index}", cluster, index, data
        self.searcher = Searcher(cluster, index, feedback=feedback)
        self.documents = ClusterApi(cluster).count(index)
        if self.documents == 0:
            raise InputError(
                f"index {index} holds no documents; load them first: osparse index --index {index} DOCUMENTS"
            )

    def key(self) -> dict[str, Any]:
        deployment = self.searcher.deployment
        tuned = {} if self._is_plain else {"search setting": self.searcher.setting.to_json()}
        return {
            **tuned,
            "deployment": deployment.fingerprint,
            "mode": deployment.mode,
            "search pipeline": deployment.search_pipeline,
            "index": self.index,
            "documents": self.documents,
            "content": ClusterApi(self.cluster).writes(self.index),
        }

    def description(self) -> dict[str, Any]:
        deployment = self.searcher.deployment
        tuned = {} if self._is_plain else {"search_setting": str(self.searcher.setting)}
        return {
            **tuned,
            "kind": "index",
            "bundle": deployment.bundle,
            "fingerprint": deployment.fingerprint,
            "mode": deployment.mode,
            "weights": QUANTISED,
        }

    def run(self, judged: JudgedSet, depth: int) -> Run:
        lang = language_filter(self.data, judged)
        if not self.searcher.in_one_request:
            return self._in_passes(judged, depth, lang)
        bodies = {query: self.searcher.body(text, size=depth, lang=lang) for query, text in judged.queries.items()}
        return cluster_run(self.cluster, self.index, bodies, f"query {judged.direction}")

    def _in_passes(self, judged: JudgedSet, depth: int, lang: str | None) -> Run:
        hits = self.searcher.passes.hits(list(judged.queries.values()), size=depth, lang=lang)
        return {
            query: {row["_id"]: float(row["_score"]) for row in rows}
            for query, rows in zip(judged.queries, hits, strict=True)
        }

    @property
    def _is_plain(self) -> bool:
        return self.searcher.setting.is_plain_query

    def non_zeros(self) -> dict[str, float]:
        return non_zeros(self.cluster, self.index, self.searcher.deployment.field)

    def training_texts(self) -> SeenTexts | None:
        """As ``osparse deploy`` stored the list in the cluster; None for a bundle that had none."""
        api, deployment = ClusterApi(self.cluster), self.searcher.deployment
        try:
            if "seen" not in stored_parts(api, deployment.fingerprint):
                return None
        except AccessError as problem:  # searching by ML Commons needs no right to read the bundles
            log.info("whether the list of training texts is stored is not known: %s", problem)
            return None
        return SeenTexts.open(fetch_part(api, deployment, "seen"), ClusterError)

    def timed_search(self, judged: JudgedSet) -> Callable[[str], object]:
        lang, api = language_filter(self.data, judged), ClusterApi(self.cluster)

        def send(text: str) -> None:
            if not self.searcher.in_one_request:
                self.searcher.passes.hits([text], size=10, lang=lang)
                return
            body = self.searcher.body(text, size=10, lang=lang)
            if body is not None:
                api.search(self.index, {**body, "_source": False})

        return send

    def notes(self) -> list[str]:
        notes, expected = [], sum(self.data.languages.values())
        if self.documents != expected:
            notes.append(
                f"the index holds {self.documents:,} documents, the dataset {expected:,}: the figures are not those "
                "of the dataset"
            )
        for lang in sorted({lang for judged in self.data.sets if (lang := language_filter(self.data, judged))}):
            if not ClusterApi(self.cluster).count(self.index, render("filter_lang", lang=lang)):
                notes.append(
                    f"no document of the index has lang {lang}, so no query of that language matches: load the "
                    "documents with their lang, as the dataset has it"
                )
        return notes


def language_filter(data: Benchmark, judged: JudgedSet) -> str | None:
    """A corpus of one language needs no filter, and its documents may carry no language."""
    return judged.document_lang if len(data.languages) > 1 else None
