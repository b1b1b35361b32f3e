"""Which words of a document the baseline matched: by the cluster's own analyzers, or by words in memory."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from osparse.algorithms.words import words
from osparse.deployer.cluster.api import ClusterApi
from osparse.opensearch_templates import render
from osparse.retrieval.html_report.outcomes import Outcome
from osparse.retrieval.systems.cluster_bm25 import ClusterBm25

BATCH = 50
"""Queries in one request."""
BEFORE, AFTER = "\ue000", "\ue001"
"""Around a matched word in the cluster's answer: private characters, which texts do not hold."""
_MARKED = re.compile(f"{BEFORE}([^{BEFORE}{AFTER}]+){AFTER}")


class WordMatcher(ABC):
    """Tells which words of documents a query matches."""

    @abstractmethod
    def matched(
        self, asked: Sequence[tuple[Outcome, Sequence[str]]], texts: Mapping[str, str]
    ) -> dict[tuple[str, str], list[str]]:
        """(query id, document id) -> matched words in order, in lower case.

        Args:
            asked: Outcomes with the documents to look at.
            texts: Document id -> text.
        """


class SharedWords(WordMatcher):
    """Words that query and text have both, as the BM25 in memory counts them."""

    def matched(
        self, asked: Sequence[tuple[Outcome, Sequence[str]]], texts: Mapping[str, str]
    ) -> dict[tuple[str, str], list[str]]:
        matched = {}
        for outcome, documents in asked:
            query = frozenset(words(outcome.text))
            for document in documents:
                own = dict.fromkeys(words(texts.get(document, "")))
                matched[outcome.id, document] = [word for word in own if word in query]
        return matched


class HighlightedWords(WordMatcher):
    """What the cluster's highlighter marks, so that stems and particles are as its analyzer sees them."""

    def __init__(self, baseline: ClusterBm25) -> None:
        """``baseline``: after its :meth:`prepare`."""
        self._api, self._indices = ClusterApi(baseline.cluster), baseline.indices

    def matched(
        self, asked: Sequence[tuple[Outcome, Sequence[str]]], texts: Mapping[str, str]
    ) -> dict[tuple[str, str], list[str]]:
        found: dict[tuple[str, str], list[str]] = {}
        for lang, index in self._indices.items():
            rows = [(outcome, list(ids)) for outcome, ids in asked if outcome.document_lang == lang and ids]
            for start in range(0, len(rows), BATCH):
                found.update(self._ask(index, rows[start : start + BATCH]))
        return found

    def _ask(self, index: str, rows: Sequence[tuple[Outcome, list[str]]]) -> dict[tuple[str, str], list[str]]:
        bodies = [render("query_match_highlight", text=outcome.text, ids=ids, before=BEFORE, after=AFTER, size=len(ids))
                  for outcome, ids in rows]  # fmt: skip
        shown = "responses.hits.hits._id,responses.hits.hits.highlight,responses.status"  # the status keeps empty ones
        answers = self._api.searches(index, bodies, shown)
        return {
            (outcome.id, hit["_id"]): _marked(hit.get("highlight", {}).get("text", []))
            for (outcome, _), answer in zip(rows, answers, strict=True)
            for hit in answer.get("hits", {}).get("hits", [])
        }


def _marked(fragments: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(word.lower() for text in fragments for word in _MARKED.findall(text)))
