"""A deployed index as a system to evaluate."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

from osparse.contracts.deployment import FIELD
from osparse.contracts.seen import SeenTexts
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.client import Cluster
from osparse.deployer.load.bundle_store import fetch_part, stored_parts
from osparse.errors import AccessError, ClusterError, InputError
from osparse.evaluation.measures import Benchmark, JudgedSet
from osparse.opensearch_templates import render
from osparse.retrieval.filters.clauses import Filter
from osparse.retrieval.filters.matching import satisfying
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

    def __init__(
        self,
        cluster: Cluster,
        index: str,
        data: Benchmark,
        feedback: Feedback | None = None,
        filter: Filter | None = None,
        sparse_fields: Sequence[str] | None = None,
    ) -> None:
        """``feedback`` joins the search setting that the index's ``_meta`` records; only documents that satisfy
        ``filter`` are ranked; ``sparse_fields`` are those that are searched, of an index that has several."""
        self.cluster, self.index, self.data = cluster, index, data
        self.name = f"index {index}" + (f" {'+'.join(sparse_fields)}" if sparse_fields is not None else "")
        self.searcher = Searcher(cluster, index, feedback=feedback, sparse_fields=sparse_fields)
        self.parts = self.searcher.parts(filter)
        self.filters = [part.clause for part in self.parts]
        self.documents = ClusterApi(cluster).count(index)
        if self.documents == 0:
            raise InputError(
                f"index {index} holds no documents; load them first: osparse index --index {index} DOCUMENTS"
            )

    def key(self) -> dict[str, Any]:
        deployment = self.searcher.deployment
        tuned = {} if self._is_plain else {"search setting": self.searcher.setting.to_json()}
        filtered = {"filter": self.filters} if self.filters else {}
        return {
            **tuned,
            **filtered,
            **self._fields,
            "deployment": deployment.fingerprint,
            "mode": deployment.mode,
            "search pipeline": deployment.search_pipeline,
            "index": self.index,
            "documents": self.documents,
            # a collection counts no writes: nothing says that an earlier run would be the same
            "content": uuid4().hex if self.cluster.serverless else ClusterApi(self.cluster).writes(self.index),
        }

    def description(self) -> dict[str, Any]:
        deployment = self.searcher.deployment
        tuned = {} if self._is_plain else {"search_setting": str(self.searcher.setting)}
        filtered = {"filter": " and ".join(part.text for part in self.parts)} if self.parts else {}
        return {
            **tuned,
            **filtered,
            **self._fields,
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
        bodies = {
            query: self.searcher.body(text, size=depth, lang=lang, filter=self.filters)
            for query, text in judged.queries.items()
        }
        return cluster_run(self.cluster, self.index, bodies, f"query {judged.direction}")

    def _in_passes(self, judged: JudgedSet, depth: int, lang: str | None) -> Run:
        hits = self.searcher.passes.hits(list(judged.queries.values()), size=depth, lang=lang, filters=self.filters)
        return {
            query: {row["_id"]: float(row["_score"]) for row in rows}
            for query, rows in zip(judged.queries, hits, strict=True)
        }

    @property
    def _fields(self) -> dict[str, Any]:
        """Those that are searched and what each counts, where the index has several."""
        views = self.searcher.views
        if len(views) == 1 and views[0].field == FIELD:
            return {}
        return {"sparse fields": {view.field: [view.fingerprint, view.boost] for view in views}}

    @property
    def _is_plain(self) -> bool:
        return self.searcher.setting.is_plain_query

    def non_zeros(self) -> dict[str, float]:
        parts = [non_zeros(self.cluster, self.index, view.field) for view in self.searcher.views]
        return {lang: sum(part.get(lang, 0.0) for part in parts) for lang in parts[0]}

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
                self.searcher.passes.hits([text], size=10, lang=lang, filters=self.filters)
                return
            body = self.searcher.body(text, size=10, lang=lang, filter=self.filters)
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
        return [*notes, *self._filter_notes()]

    def _filter_notes(self) -> list[str]:
        """How many judged documents the filter leaves out: they count as not found."""
        if not self.filters:
            return []
        api = ClusterApi(self.cluster)
        stored = satisfying(api, self.index, sorted(judged_documents(self.data)), ())
        passed = satisfying(api, self.index, sorted(stored), self.filters)
        lost = answerless(self.data, stored, passed)
        return [
            f"the filter of {self.name} leaves out {len(stored - passed):,} of {len(stored):,} judged documents of the "
            f"index, which count as not found; {lost:,} queries have no relevant document left. Other systems of "
            "the report rank all documents"
        ]


def judged_documents(data: Benchmark) -> set[str]:
    """Documents that somebody judged, relevant or not."""
    judged = [grades for one in data.sets for grades in (*one.qrels.values(), *one.not_relevant.values())]
    return {document for documents in judged for document in documents}


def answerless(data: Benchmark, stored: set[str], passed: set[str]) -> int:
    """Queries that have relevant documents in the index, none of them among ``passed``."""
    relevant = [grades.keys() & stored for judged in data.sets for grades in judged.qrels.values()]
    return sum(bool(documents) and not documents & passed for documents in relevant)


def language_filter(data: Benchmark, judged: JudgedSet) -> str | None:
    """A corpus of one language needs no filter, and its documents may carry no language."""
    return judged.document_lang if len(data.languages) > 1 else None
