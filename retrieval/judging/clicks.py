"""Graded judgements from clicks, corrected for the places at which documents were shown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osparse.errors import InputError
from osparse.io.files import require_free, write_atomic
from osparse.retrieval.judging.click_model import Cells, ClickModel, comparable, fit
from osparse.retrieval.judging.ubi import ClickLog, read_ubi

GRADES_FROM = (0.05, 0.2, 0.4)
"""Probability of a click on an examined document from which it has the grade 1, 2 and 3."""

_Pair = tuple[str, str]


@dataclass(frozen=True)
class ClickJudgements:
    path: Path
    searches: int
    queries: int
    judgements: int
    relevant: int
    """Judgements with a grade of 1 or more."""
    examination: dict[int, float]
    """Place -> how often it is looked at, relative to the most examined place."""
    too_few: int
    """Pairs of query and document that were looked at too seldom for a grade."""
    not_comparable: int
    """Pairs shown only at places that no document links with the others."""
    unknown_clicks: int
    """Clicks of no known search, or on no document among its first places."""


def judge_clicks(
    queries: Path | str,
    events: Path | str,
    output: Path | str,
    *,
    actions: Sequence[str] = ("click",),
    depth: int = 20,
    min_examined: float = 10,
    grades_from: Sequence[float] = GRADES_FROM,
    overwrite: bool = False,
) -> ClickJudgements:
    """Write a grade for each pair of query and document that was looked at often enough.

    The grade is the number of ``grades_from`` that the pair's probability of a click, once looked at, reaches. The rows
    name queries by their text, in lower case; :func:`osparse.retrieval.import_judgements` finds the dataset's queries.

    Args:
        queries: Export of the index ubi_queries, JSON lines.
        events: Export of the index ubi_events, JSON lines.
        output: A ``.jsonl`` file with query, document_id, grade, relevance, examined and clicks.
        actions: The action_name values that count as clicks.
        depth: First places of each search that count.
        min_examined: Expected number of looks at a document from which it is graded.
        grades_from: Increasing probabilities.
        overwrite: Replace ``output``.

    Raises:
        InputError: a setting or row that cannot be used; no click; no document was shown at two places.
    """
    target = Path(output)
    _check(target, depth, min_examined, grades_from, overwrite)
    log = read_ubi(Path(queries), Path(events), frozenset(actions), depth)
    if not log.clicks.total():
        raise InputError(
            f"{events} has no {' or '.join(actions)} on a document that {queries} shows ({log.unknown_clicks:,} on "
            "others); pass the names of your events as `actions`, or export both indexes of the same time"
        )
    pairs, places, cells = _cells(log)
    model = fit(cells)
    rows = list(_rows(pairs, cells, model, min_examined, grades_from))
    write_atomic(target, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return ClickJudgements(
        path=target,
        searches=log.searches,
        queries=len({row["query"] for row in rows}),
        judgements=len(rows),
        relevant=sum(row["grade"] > 0 for row in rows),
        examination=dict(zip(places, model.examination.tolist(), strict=True)),
        too_few=len(pairs) - len(rows),
        not_comparable=len({cell[:2] for cell in log.views}) - len(pairs),
        unknown_clicks=log.unknown_clicks,
    )


def _check(target: Path, depth: int, min_examined: float, grades_from: Sequence[float], overwrite: bool) -> None:
    if target.suffix != ".jsonl":
        raise InputError(f"`output` must end in .jsonl, got {target.name}")
    require_free(target, overwrite, "judgements")
    if depth < 2:
        raise InputError(f"`depth` must be at least 2, got {depth}")
    if min_examined <= 0:
        raise InputError(f"`min_examined` must be above 0, got {min_examined:g}")
    bounds = [0.0, *grades_from, 1.0]
    if not grades_from or any(low >= high for low, high in zip(bounds, bounds[1:], strict=False)):
        raise InputError(f"`grades_from` must be increasing numbers between 0 and 1, got {list(grades_from)}")


def _cells(log: ClickLog) -> tuple[list[_Pair], list[int], Cells]:
    """The comparable pairs and places, and their counts."""
    keys = sorted(log.views)
    pairs, places, cells = _index(keys, log)
    chosen = comparable(cells)
    pairs, places, cells = _index([key for key, linked in zip(keys, chosen, strict=True) if linked], log)
    if len(places) < 2:
        raise InputError(
            "no document was shown at two places for the same query, so that clicks do not tell a place that is seldom "
            "looked at from a document that is not relevant; give a longer log, or one with varied rankings"
        )
    return pairs, places, cells


def _index(keys: Sequence[tuple[str, str, int]], log: ClickLog) -> tuple[list[_Pair], list[int], Cells]:
    import numpy as np

    pairs = list(dict.fromkeys(key[:2] for key in keys))
    places = sorted({place for _, _, place in keys})
    pair_at, place_at = ({key: at for at, key in enumerate(part)} for part in (pairs, places))
    return pairs, places, Cells(
        np.array([pair_at[key[:2]] for key in keys]),
        np.array([place_at[key[2]] for key in keys]),
        np.array([log.views[key] for key in keys], dtype=np.float64),
        np.array([log.clicks[key] for key in keys], dtype=np.float64),
    )  # fmt: skip


def _rows(
    pairs: Sequence[_Pair], cells: Cells, model: ClickModel, min_examined: float, grades_from: Sequence[float]
) -> Iterator[dict[str, Any]]:
    import numpy as np

    clicks = np.bincount(cells.pair, cells.clicks)
    numbers = zip(model.relevance.tolist(), model.examined.tolist(), clicks.tolist(), strict=True)
    for (query, document), (relevance, examined, clicked) in zip(pairs, numbers, strict=True):
        if examined >= min_examined:
            yield {
                "query": query,
                "document_id": document,
                "grade": sum(relevance >= bound for bound in grades_from),
                "relevance": round(relevance, 4),
                "examined": round(examined, 1),
                "clicks": int(clicked),
            }
