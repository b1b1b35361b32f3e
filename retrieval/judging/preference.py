"""Which of two interleaved systems users prefer, by their clicks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from osparse.errors import InputError
from osparse.evaluation.significance import share_interval, sign_test
from osparse.retrieval.judging.ubi import DRAFT, SEARCH_CONFIG, attributed_documents, clicked_documents, ubi_rows

Unit = Literal["search", "client"]
Teams = dict[str, frozenset[str]]
"""System -> the documents that it drafted."""


@dataclass(frozen=True)
class Preference:
    """Wins and losses of the first system against the second."""

    systems: tuple[str, str]
    unit: Unit
    """What wins, loses or ties: a search, or all searches of a client together."""
    searches: int
    """With a draft."""
    clicked: int
    """Searches with a click on a drafted document."""
    wins: int
    """Units in which more documents of the first system's team were clicked than of the second's."""
    losses: int
    ties: int
    """Units with as many clicks for either."""
    share: float
    """wins / (wins + losses); 0.5 without either."""
    interval: tuple[float, float]
    """95 % of ``share`` (Wilson)."""
    p: float
    """Two-sided sign test of ``share`` against 0.5."""
    delta: float
    """(wins + ties / 2) / (wins + losses + ties) - 0.5 (Chapelle, Joachims, Radlinski and Yue, TOIS 2012)."""
    other_clicks: int
    """Clicks of no known search, or on no drafted document of theirs."""


def judge_preference(
    queries: Path | str | None,
    events: Path | str,
    *,
    actions: Sequence[str] = ("click",),
    unit: Unit = "search",
) -> Preference:
    """Count the clicks on the lists of :func:`osparse.retrieval.interleave`, or of OpenSearch's own interleaving.

    Args:
        queries: The file of the lists, or an export of ubi_queries whose rows have the same
            ``query_attributes.team_draft``; rows without it are passed over. If none has it, or None is given, the
            teams are those that the events name.
        events: Export of ubi_events, JSON lines. Those of searches that OpenSearch interleaved have ``search_config``,
            the search configuration that drafted the object, in event_attributes or event_attributes.object.
        actions: The action_name values that count as clicks. More clicks on a document in one search count once.
        unit: "search" takes searches for independent of each other; "client" gives each ``client_id`` one vote, as
            one client's searches are not.

    Raises:
        InputError: rows that cannot be read, no draft or no click on one, drafts of other than two systems, a search
            without the client that ``unit`` asks for.
    """
    if unit not in get_args(Unit):
        raise InputError(f"`unit` must be {' or '.join(get_args(Unit))}, got {unit!r}")
    drafts, clients = _drafts(Path(queries), unit) if queries is not None else ({}, {})
    if not drafts:
        drafts, clients = _attributed_drafts(Path(events), unit)
    if not drafts:
        lists = "" if queries is None else f"{queries} has no search with query_attributes.{DRAFT}, and "
        raise InputError(
            f"{lists}{events} has no event with event_attributes.{SEARCH_CONFIG}; give the file of osparse judge "
            "interleave, store its query_attributes with each search, or log the search configuration of each hit"
        )
    clicked = clicked_documents(Path(events), frozenset(actions))
    credits = {query: _credit(teams, clicked.get(query, ())) for query, teams in drafts.items()}
    used = {query: clicks for query, clicks in credits.items() if sum(clicks)}
    if not used:
        raise InputError(
            f"{events} has no {' or '.join(actions)} on a document that one of the systems drafted; pass the names of "
            "your events as `actions`, and check that the events have the query_id of the lists"
        )
    every = sum(map(len, clicked.values()))
    return _preference(
        tuple(next(iter(drafts.values()))), unit, used, clients, len(drafts), every - sum(map(sum, used.values()))
    )


def _preference(
    systems: tuple[str, ...],
    unit: Unit,
    credits: Mapping[str, tuple[int, int]],
    clients: Mapping[str, str],
    searches: int,
    other_clicks: int,
) -> Preference:
    balance = Counter[str]()
    for query, (first, second) in credits.items():
        balance[clients.get(query, query)] += _sign(first - second)
    wins, losses = (sum(_sign(value) == side for value in balance.values()) for side in (1, -1))
    decided, ties = wins + losses, len(balance) - wins - losses
    return Preference(
        systems=(systems[0], systems[1]),
        unit=unit,
        searches=searches,
        clicked=len(credits),
        wins=wins,
        losses=losses,
        ties=ties,
        share=wins / decided if decided else 0.5,
        interval=share_interval(wins, decided),
        p=sign_test(wins, losses),
        delta=(wins + ties / 2) / len(balance) - 0.5,
        other_clicks=other_clicks,
    )


def _sign(value: int) -> int:
    return (value > 0) - (value < 0)


def _credit(teams: Teams, clicked: Iterable[str]) -> tuple[int, int]:
    first, second = (len(team.intersection(clicked)) for team in teams.values())
    return first, second


def _drafts(path: Path, unit: Unit) -> tuple[dict[str, Teams], dict[str, str]]:
    """Query id -> teams, and by client query id -> client."""
    drafts: dict[str, Teams] = {}
    clients: dict[str, str] = {}
    for where, row, teams in _drafted_rows(path):
        query, client = row.get("query_id"), row.get("client_id")
        if not isinstance(query, str):
            raise InputError(f"{where}: no query_id; give the lists, or an export of the index ubi_queries")
        if drafts.setdefault(query, teams) != teams:
            raise InputError(f"{where}: the search {query} has another draft before; export each search once")
        if unit == "client":
            if not isinstance(client, str):
                raise InputError(f"{where}: the search {query} has no client_id; count by `unit` search instead")
            clients[query] = client
    return drafts, clients


def _attributed_drafts(path: Path, unit: Unit) -> tuple[dict[str, Teams], dict[str, str]]:
    """The same by the search configuration that each event names."""
    attributed = attributed_documents(path)
    systems = sorted({config for teams in attributed.drafts.values() for config in teams})
    if not systems:
        return {}, {}
    if len(systems) != 2:
        raise InputError(
            f"{path}: {SEARCH_CONFIG} must name two search configurations, got {len(systems)}: {', '.join(systems)}; "
            "export the events of one interleaved test"
        )
    drafts = {
        q: {name: frozenset(teams.get(name, set())) for name in systems} for q, teams in attributed.drafts.items()
    }
    if unit == "search":
        return drafts, {}
    if without := sorted(drafts.keys() - attributed.clients.keys()):
        raise InputError(f"{path}: the search {without[0]} has no client_id; count by `unit` search instead")
    return drafts, attributed.clients


def _drafted_rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any], Teams]]:
    systems: tuple[str, ...] = ()
    for where, row in ubi_rows(path):
        attributes = row.get("query_attributes")
        raw = attributes.get(DRAFT) if isinstance(attributes, dict) else None
        if raw is None:
            continue
        if not isinstance(raw, dict) or len(raw) != 2 or not all(isinstance(team, list) for team in raw.values()):
            raise InputError(f"{where}: {DRAFT} needs the documents of two systems, got {str(raw)[:80]}")
        systems = systems or tuple(raw)
        if raw.keys() != set(systems):
            raise InputError(f"{where}: a draft of {' and '.join(raw)}, after one of {' and '.join(systems)}")
        yield where, row, {name: frozenset(map(str, raw[name])) for name in systems}
