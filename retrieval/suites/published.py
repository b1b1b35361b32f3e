"""Figures that others published, each with where it stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from osparse.io.files import read_json

NAMES = ("beir",)
"""Of the suites that are known."""


@dataclass(frozen=True)
class Published:
    """A system's published nDCG@10."""

    name: str
    source: str
    """Where the figures stand, and of what system they are."""
    ndcg10: dict[str, float]
    """Set -> value."""


@dataclass(frozen=True)
class PublishedSet:
    documents: int
    queries: int
    """Judged queries of the test split."""


@dataclass(frozen=True)
class Suite:
    name: str
    sets: dict[str, PublishedSet]
    """Folder name -> its size, in the order of the table."""
    systems: Sequence[Published]

    @classmethod
    def known(cls, name: str) -> Suite:
        """One of :data:`NAMES`."""
        raw = read_json(Path(__file__).with_name(f"{name}.json"))
        sets = {folder: PublishedSet(**size) for folder, size in raw["sets"].items()}
        return cls(raw["name"], sets, [Published(**system) for system in raw["systems"]])
