"""Make the builds of a ``sparse_vector`` field one after the other, measure each, and keep those worth comparing."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from osparse.retrieval.monitoring.recall import DEPTH, ExactHits, exact_hits
from osparse.retrieval.searcher import Searcher
from osparse.retrieval.serving.settings import Seismic, SeismicBuild, Setting
from osparse.retrieval.tuning.applying.copies import Copies
from osparse.retrieval.tuning.building.candidates import (
    BuildTrial,
    PresentBuild,
    candidates,
    read_present,
    together,
)
from osparse.retrieval.tuning.questions import values
from osparse.retrieval.tuning.search import TOLERANCE
from osparse.retrieval.tuning.subject import Subject

log = logging.getLogger("osparse.retrieval.tuning.building.trials")

QUERIES = 200
"""Of the validation queries, by which recall is measured."""


@dataclass
class BuildTrials:
    """Builds that were made, in the order of trying; the copies of those that are not worth comparing are deleted."""

    subject: Subject
    copies: Copies
    searches: Sequence[Setting]
    """Each build is measured with; the first is the present one."""
    exact: ExactHits
    trials: list[BuildTrial]
    untried: int = 0
    """Candidates that there was no time for."""

    @classmethod
    def start(cls, subject: Subject, copies: Copies, searches: Sequence[Setting]) -> BuildTrials:
        return cls(subject, copies, searches, read_exact(subject), [])

    def run(self, deadline: float) -> None:
        """Make builds while there is time for a further one, judged by the slowest before it.

        Args:
            deadline: By ``time.monotonic``.
        """
        present = read_present(self.subject.api, self.subject.concrete, self.subject.searcher.deployment.field)
        self._made(None, deadline)
        single = candidates(present)
        for number, build in enumerate(single):
            if not self._made(build, deadline):
                self.untried = len(single) - number
                return
        for build in together(self._reference(present), self.trials[1:]):
            if not self._made(build, deadline):
                return

    def _reference(self, present: PresentBuild) -> BuildTrial:
        """What the single changes are compared with: the present parameters, or the same searched approximately."""
        return self.trials[0] if present.approximate else self.trials[1]

    def _made(self, build: SeismicBuild | None, deadline: float) -> bool:
        """Make and measure a build if there is time; the first is made in any case."""
        slowest = max((trial.seconds for trial in self.trials), default=0.0)
        if self.trials and time.monotonic() + slowest > deadline:
            log.info("no time for a further build after %d", len(self.trials))
            return False
        begun = time.monotonic()
        place = self.copies.add(build)
        live = self.subject.live(place)
        ndcg = max(
            float(values(live, replace(one, build=build), self.subject.validation).mean()) for one in self.searches
        )
        recall = self.recall(self.searches[0].seismic, place)
        size = self.subject.api.store_size(place)
        self.trials.append(BuildTrial(build, ndcg, recall, size, time.monotonic() - begun))
        log.info("%s", self.trials[-1])
        for other in [other for other in self.copies.places if other not in {t.build for t in self.kept()}]:
            self.copies.drop(other)
        return True

    def recall(self, choice: Seismic | None, place: str) -> float:
        """Recall@10 of a search with the deployed query weights; 1 where no query matches a document."""
        passes = self.subject.live(place).passes(Setting(seismic=choice))
        rows = passes.hits(self.exact.texts, size=DEPTH)
        measured = self.exact.recall([[row["_id"] for row in found] for found in rows])
        return 1.0 if measured is None else measured.mean

    def notes(self) -> list[str]:
        """What was built, for the result."""
        left = [f"{self.untried} builds were not tried: no time was left; raise `minutes`"] if self.untried else []
        return [*(str(trial) for trial in self.trials), *left]

    def kept(self) -> list[BuildTrial]:
        """The present build, the first other one, the best in nDCG@10, the smallest, the best other in recall."""
        first = self.trials[0]
        enough = [trial for trial in self.trials if trial.ndcg >= first.ndcg - TOLERANCE] or [first]
        chosen = [
            *self.trials[:2],
            max(self.trials, key=lambda trial: trial.ndcg),
            max(self.trials[2:] or self.trials, key=lambda trial: (trial.recall, -trial.bytes)),
            min(enough, key=lambda trial: (trial.bytes, -trial.ndcg)),
        ]
        return [trial for number, trial in enumerate(chosen) if trial not in chosen[:number]]


def read_exact(subject: Subject) -> ExactHits:
    """The exact first hits of the validation queries, with the deployed query weights."""
    plain = Searcher(subject.api.cluster, subject.alias, setting=Setting())
    return exact_hits(plain, [question.text for question in subject.validation[:QUERIES]])
