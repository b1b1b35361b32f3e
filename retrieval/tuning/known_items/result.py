"""What the fit of a fusion by known items found, and how it is printed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from osparse.retrieval.serving.settings import Setting


@dataclass(frozen=True)
class FittedWeight:
    """The weight chosen for one direction, and what it gives on the half of the queries that did not choose it."""

    direction: str
    weight: float
    """Of the sparse search; BM25 has the rest."""
    queries: int
    """That it is reported on."""
    fused: float
    """nDCG@10."""
    bm25: float
    sparse: float
    p_bm25: float
    """Two-sided, paired randomisation test of the fusion against BM25."""
    p_sparse: float


@dataclass(frozen=True)
class FusionFit:
    """What ``osparse tune --known-items`` found."""

    index: str
    documents: int
    """That were drawn."""
    rows: list[FittedWeight]
    setting: Setting
    notes: list[str]
    applied: str = ""
    """What ``apply`` changed; empty where nothing was."""

    def to_json(self) -> dict[str, Any]:
        return {
            "index": self.index, "documents": self.documents, "rows": [vars(row) for row in self.rows],
            "setting": self.setting.to_json(), "notes": self.notes, "applied": self.applied,
        }  # fmt: skip

    def __str__(self) -> str:
        lines = [f"{self.index}: known items of {self.documents:,} documents", "", _HEAD]
        lines += [
            f"{row.direction:<12} {row.weight:>6.1f} {row.queries:>8} {row.fused:>8.4f} {row.bm25:>8.4f} "
            f"{row.p_bm25:>8.4f} {row.sparse:>8.4f} {row.p_sparse:>8.4f}"
            for row in self.rows
        ]
        lines += ["", f"chosen: {self.setting}", *(f"note: {note}" for note in self.notes)]
        return "\n".join(
            [*lines, f"applied: {self.applied}" if self.applied else "next: run the same command with --apply"]
        )


_HEAD = f"{'direction':<12} {'weight':>6} {'queries':>8} {'fused':>8} {'BM25':>8} {'p':>8} {'sparse':>8} {'p':>8}"
