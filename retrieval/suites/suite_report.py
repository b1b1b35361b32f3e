"""The result of a suite: nDCG@10 of each set and system, beside what others published of the same sets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from osparse.evaluation.measures import NDCG
from osparse.retrieval.report import Report
from osparse.retrieval.suites.published import Published, Suite


@dataclass(frozen=True)
class SetResult:
    """One set of the suite."""

    name: str
    report: Report
    whole: bool
    """Whether it has as many documents and judged queries as the published set; else its published figures are left
    out."""

    @property
    def queries(self) -> int:
        return self.report.rows[0].queries

    @property
    def documents(self) -> int:
        return self.report.rows[0].documents

    def ndcg10(self, system: str) -> float:
        (value,) = (row.figures[NDCG] for row in self.report.rows if row.whole and row.system == system)
        return value


@dataclass(frozen=True)
class SuiteReport:
    suite: Suite
    folder: str
    results: Sequence[SetResult]
    missing: Sequence[str]
    """Sets of the suite that the folder does not hold."""
    others: Sequence[str]
    """Folders that hold a set which is not of the suite."""

    @property
    def systems(self) -> list[str]:
        return [system["name"] for system in self.results[0].report.systems]

    @property
    def whole(self) -> list[SetResult]:
        """Of the results, those that published figures can stand beside."""
        return [result for result in self.results if result.whole]

    def mean(self, system: str, results: Iterable[SetResult]) -> float:
        """Of a measured system, each set counting once."""
        return _mean(result.ndcg10(system) for result in results)

    def published_mean(self, published: Published) -> float:
        """Over the whole sets, which is not what the authors' own mean is over unless all are there."""
        return _mean(published.ndcg10[result.name] for result in self.whole)

    def to_json(self) -> dict[str, Any]:
        return {
            "suite": self.suite.name,
            "folder": self.folder,
            "sets": [
                {
                    "name": result.name,
                    "whole": result.whole,
                    "ndcg10": {system: result.ndcg10(system) for system in self.systems},
                    "published": self._published(result) if result.whole else {},
                    "report": result.report.to_json(),
                }
                for result in self.results
            ],
            "mean": {system: self.mean(system, self.results) for system in self.systems},
            "mean_of_whole_sets": self._means() if self.whole else {},
            "missing": list(self.missing),
            "others": list(self.others),
            "sources": {published.name: published.source for published in self.suite.systems},
        }

    def _published(self, result: SetResult) -> dict[str, float]:
        return {published.name: published.ndcg10[result.name] for published in self.suite.systems}

    def _means(self) -> dict[str, dict[str, float]]:
        return {
            "measured": {system: self.mean(system, self.whole) for system in self.systems},
            "published": {published.name: self.published_mean(published) for published in self.suite.systems},
        }

    def __str__(self) -> str:
        from osparse.retrieval.suites.suite_table import suite_text

        return suite_text(self)


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed)
