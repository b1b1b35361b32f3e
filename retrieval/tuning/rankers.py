"""Two ways to rank under a setting: exactly from the stored weights, or by asking the cluster."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from osparse.deployer.cluster.client import Cluster
from osparse.retrieval.searcher import Searcher
from osparse.retrieval.serving.forms import SearchForms
from osparse.retrieval.serving.fusion import DEPTH
from osparse.retrieval.serving.passes import Passes
from osparse.retrieval.serving.settings import Setting
from osparse.retrieval.tuning.offline.simulate import Simulator
from osparse.retrieval.tuning.questions import SIZE, Question

log = logging.getLogger("osparse.retrieval.tuning.rankers")


@dataclass(frozen=True, eq=False)
class SimulatedRanker:
    """Exact, of rank_features fields only; asks the cluster for nothing but BM25, and for that once a query."""

    simulator: Simulator
    searcher: Searcher

    def rankings(self, setting: Setting, asked: Sequence[Question]) -> list[list[str]]:
        if setting.hybrid is not None:
            self._fetch_bm25(asked)
        return [list(self.simulator.ranking(q.text, setting, q.lang, SIZE)) for q in asked]

    def _fetch_bm25(self, asked: Sequence[Question]) -> None:
        known = self.simulator.bm25
        missing = dict.fromkeys((q.lang, q.text) for q in asked if (q.lang, q.text) not in known)
        for lang in dict.fromkeys(lang for lang, _ in missing):
            texts = [text for of_lang, text in missing if of_lang == lang]
            runs = self.searcher.passes.bm25(texts, size=DEPTH, lang=lang)
            known |= {(lang, text): run for text, run in zip(texts, runs, strict=True)}


@dataclass(frozen=True)
class LiveRanker:
    """Asks the cluster; the setting's pruning is that of ``index``, whatever it says."""

    cluster: Cluster
    index: str
    searcher: Searcher
    """Whose deployment and query encoder are used."""

    def passes(self, setting: Setting) -> Passes:
        forms = SearchForms(self.searcher.deployment, self.searcher.encoder, setting)
        return Passes(self.cluster, self.index, forms)

    def rankings(self, setting: Setting, asked: Sequence[Question]) -> list[list[str]]:
        passes, ranked = self.passes(setting), dict[int, list[str]]()
        for lang in dict.fromkeys(question.lang for question in asked):
            numbers = [number for number, question in enumerate(asked) if question.lang == lang]
            hits = passes.hits([asked[number].text for number in numbers], size=SIZE, lang=lang)
            ranked |= {number: [row["_id"] for row in rows] for number, rows in zip(numbers, hits, strict=True)}
        return [ranked[number] for number in range(len(asked))]

    def sender(self, setting: Setting, langs: Mapping[str, str | None]) -> Callable[[str], object]:
        """A function that searches one text for ten hits, as a user does, to be timed.

        Args:
            langs: Text -> language of the documents it is asked of.
        """
        passes = self.passes(setting)
        return lambda text: passes.hits([text], size=10, lang=langs[text], source=None)
