"""What evaluation needs of a system: a name, what its figures depend on, and a ranking for each judged query."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from osparse.contracts.seen import SeenTexts
from osparse.evaluation.measures import Benchmark, JudgedSet

Run = dict[str, dict[str, float]]
"""Query id -> {document id: score}, best first."""


class System(ABC):
    """One retrieval system."""

    name: str
    """As the table shows it."""
    learns: bool = False
    """Whether it is a trained model, which may have learnt judged queries or their answers."""

    @abstractmethod
    def key(self) -> dict[str, Any]:
        """Everything that the figures depend on, as JSON data; equal keys, equal figures."""

    @abstractmethod
    def description(self) -> dict[str, Any]:
        """``kind`` and what else a reader of the report should know, as JSON data."""

    def prepare(self, data: Benchmark) -> None:  # noqa: B027 - most systems have nothing to prepare
        """Make the system ready to rank the documents of ``data``; called once, before :meth:`run`."""

    @abstractmethod
    def run(self, judged: JudgedSet, depth: int) -> Run:
        """The ``depth`` best of the set's documents for each of its queries."""

    def non_zeros(self) -> dict[str, float]:
        """``mean`` and ``max`` weights per document over ``documents`` of them; {} where the system has none."""
        return {}

    def timed_search(self, judged: JudgedSet) -> Callable[[str], object] | None:
        """A function that sends one query text for ten hits, to be timed; None where there is no server to time."""
        return None

    def training_texts(self) -> SeenTexts | None:
        """What a trained model learnt from; None where that is not known."""
        return None

    def notes(self) -> list[str]:
        """Reasons why the figures may not say what they seem to say."""
        return []
