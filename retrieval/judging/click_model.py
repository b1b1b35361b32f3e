"""The position-based click model: a click is an examined place with a relevant document, estimated by EM.

Craswell, Zoeter, Taylor and Ramsey, WSDM 2008, section 3 (the examination hypothesis); the EM steps are those of
Chuklin, Markov and de Rijke, "Click Models for Web Search" (2015), section 4.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Integers = npt.NDArray[np.int64]

STEPS = 2_000
TOLERANCE = 1e-6
"""Largest change of a probability in the last step."""


@dataclass(frozen=True)
class Cells:
    """Counts of the searches in which one pair of query and document was shown at one place."""

    pair: Integers
    """[cells] index of the pair."""
    place: Integers
    """[cells] index of the place."""
    views: Floats
    """[cells] searches."""
    clicks: Floats
    """[cells] searches with a click on the document."""


@dataclass(frozen=True)
class ClickModel:
    examination: Floats
    """[places] probability that a place is looked at, relative to the place that is looked at most."""
    relevance: Floats
    """[pairs] probability of a click on the document once it is looked at."""
    examined: Floats
    """[pairs] expected number of searches in which the document was looked at."""


def fit(cells: Cells) -> ClickModel:
    """Maximum likelihood of ``P(click) = examination[place] * relevance[pair]``.

    Only the products are determined: the most examined place is given the probability 1. Places that share no document
    cannot be compared; :func:`comparable` finds those that can.
    """
    import numpy as np

    examination, relevance = _start(cells)
    place_views, pair_views = np.bincount(cells.place, cells.views), np.bincount(cells.pair, cells.views)
    missed = cells.views - cells.clicks
    for _ in range(STEPS):
        seen, liked = examination[cells.place], relevance[cells.pair]
        no_click = np.maximum(1 - seen * liked, 1e-12)
        seen_views = cells.clicks + missed * seen * (1 - liked) / no_click
        liked_views = cells.clicks + missed * liked * (1 - seen) / no_click
        new = np.bincount(cells.place, seen_views) / place_views, np.bincount(cells.pair, liked_views) / pair_views
        change = max(np.abs(new[0] - examination).max(), np.abs(new[1] - relevance).max())
        examination, relevance = new
        if change < TOLERANCE:
            break
    top = examination.max() or 1.0
    examination = examination / top
    examined = np.bincount(cells.pair, cells.views * examination[cells.place]).astype(np.float64)
    return ClickModel(examination, relevance * top, examined)


def _start(cells: Cells) -> tuple[Floats, Floats]:
    """Examination in proportion to the click rate of each place, all pairs equally relevant; neither 0 nor 1."""
    import numpy as np

    rates = (np.bincount(cells.place, cells.clicks) + 0.5) / (np.bincount(cells.place, cells.views) + 1)
    return 0.9 * rates / rates.max(), np.full(int(cells.pair.max()) + 1, 0.5)


def comparable(cells: Cells) -> npt.NDArray[np.bool_]:
    """[cells] those of the largest group of places that are linked by documents shown at more than one of them.

    Between two groups nothing tells a place that is looked at less from documents that are less relevant.
    """
    import numpy as np

    of_place = np.arange(int(cells.place.max()) + 1)
    while True:
        of_pair = np.full(int(cells.pair.max()) + 1, len(of_place))
        np.minimum.at(of_pair, cells.pair, of_place[cells.place])
        lower = of_place.copy()
        np.minimum.at(lower, cells.place, of_pair[cells.pair])
        if (lower == of_place).all():
            break
        of_place = lower
    of_cell = of_place[cells.place]
    chosen: npt.NDArray[np.bool_] = of_cell == np.bincount(of_cell, cells.views).argmax()
    return chosen
