"""Team-draft interleaving: one list of two rankings, each document drafted by one of them.

Radlinski, Kurup and Joachims, How Does Clickthrough Data Reflect Retrieval Quality?, CIKM 2008, algorithm 2.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from random import Random

from osparse.errors import InputError


@dataclass(frozen=True)
class TeamDraft:
    documents: list[str]
    """The list to show, at most ``depth`` long."""
    first: list[str]
    """The documents that the first ranking drafted, best first."""
    second: list[str]

    @property
    def teams(self) -> tuple[list[str], list[str]]:
        return self.first, self.second


def team_draft(first: Sequence[str], second: Sequence[str], *, depth: int = 10, seed: int | str = 0) -> TeamDraft:
    """Interleave two rankings of document ids, best first.

    The rankings take turns: the one with the smaller team drafts its best document that is not in the list yet, and a
    coin decides where the teams are of equal size. The draft ends when a ranking has no further document; what the
    longer one still has follows without a team, so that the user sees as many documents as ever and clicks on them
    count for neither. Equal arguments give equal drafts, on every machine.

    Args:
        depth: Documents of the list.
        seed: Of the coin; give each search its own, such as its query id, so that neither ranking is always first.
    """
    if depth < 1:
        raise InputError(f"`depth` must be at least 1, got {depth}")
    coin, teams, drafted = Random(str(seed)), (list[str](), list[str]()), dict[str, None]()
    while len(drafted) < depth:
        best = [document for ranking in (first, second) if (document := _best(ranking, drafted)) is not None]
        if len(best) < 2:
            break
        ahead = len(teams[0]) - len(teams[1])
        side = int(ahead > 0) if ahead else int(coin.random() < 0.5)
        teams[side].append(best[side])
        drafted[best[side]] = None
    rest = [document for document in dict.fromkeys((*first, *second)) if document not in drafted]
    return TeamDraft([*drafted, *rest[: depth - len(drafted)]], *teams)


def _best(ranking: Sequence[str], drafted: Container[str]) -> str | None:
    return next((document for document in ranking if document not in drafted), None)
