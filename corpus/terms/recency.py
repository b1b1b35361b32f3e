"""Temporal IDF: query weights that follow what documents lately are about, apart from how rare a token is overall.

    weight(t) = idf(t) x boost(t),   boost(t) = clip((r(t) / p(t))^gamma, 1 / limit, limit)

p(t) is the share of all documents that hold t, r(t) the same share among recent documents: a document of age a days
counts 2^(-a / half-life), and ``prior`` further documents hold t at the rate p(t). The stable part falls with p alone,
and the boost rises with r, so a token that becomes frequent lately gains weight. (Counting decayed documents inside the
IDF does the opposite: what is recent becomes common, and what is common weighs less.)
"""

from __future__ import annotations

import datetime
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osparse.errors import InputError

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Recency:
    """How the past fades. Raises :class:`InputError` for values out of range."""

    half_life: float
    """Days after which a document counts half."""
    as_of: datetime.date
    """The day from which ages are counted; later documents do not count as recent."""
    gamma: float = 0.5
    """0: no boost; 1: the whole ratio of the recent share to the stable one."""
    limit: float = 2.0
    """Largest boost, and by its inverse the smallest."""
    prior: float = 10.0
    """Documents at the stable rate added to the recent ones: few recent documents move little."""

    def __post_init__(self) -> None:
        problems = [
            f"{name}: {value} is not {wanted}"
            for name, value, fine, wanted in (
                ("half_life", self.half_life, 0 < self.half_life < float("inf"), "a number of days above 0"),
                ("gamma", self.gamma, 0 <= self.gamma <= 4, "within [0, 4]"),
                ("limit", self.limit, 1 <= self.limit <= 64, "within [1, 64]"),
                ("prior", self.prior, 0 < self.prior < float("inf"), "above 0"),
            )
            if not fine
        ]
        if problems:
            raise InputError("temporal IDF: " + "; ".join(problems))

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "as_of": self.as_of.isoformat()}

    def weights(self, dates: list[datetime.date | None]) -> Floats:
        """(N,) how much each document counts as recent: 1 on ``as_of``, 0 without a date or after it."""
        ages = np.array([np.nan if day is None else (self.as_of - day).days for day in dates], dtype=np.float64)
        with np.errstate(invalid="ignore"):
            return np.where(ages >= 0, np.exp2(-ages / self.half_life), 0.0)

    def boost(self, df: NDArray[np.int64], documents: int, recent_df: Floats, recent_mass: float) -> Floats:
        """(V,) factors within [1 / limit, limit]; 1 for a token that no document holds.

        Args:
            df: (V,) documents that hold the token, of ``documents``.
            recent_df: (V,) the same with :meth:`weights`, of ``recent_mass``, their sum.
        """
        stable = np.maximum(df, 1) / documents
        recent = (recent_df + self.prior * stable) / (recent_mass + self.prior)
        boost = np.clip((recent / stable) ** self.gamma, 1 / self.limit, self.limit)
        return np.where(df > 0, boost, 1.0)
