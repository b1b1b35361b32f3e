"""Searches and clicks of OpenSearch's User Behavior Insights (UBI), read from exports of its two indexes.

The public schema: ``ubi_queries`` holds query_id, user_query, query (the request) and query_response_hit_ids;
``ubi_events`` holds query_id, action_name, event_attributes.object.object_id and event_attributes.position.ordinal, and
where OpenSearch interleaved two search configurations, whose hit the object was (``search_config``).
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from osparse.errors import InputError
from osparse.io.files import read_jsonl

DRAFT = "team_draft"
"""Where the query_attributes of an interleaved search say which system drafted which documents."""
SEARCH_CONFIG = "search_config"
"""Where an event on a hit of OpenSearch's own interleaving says which search configuration drafted it."""


@dataclass
class ClickLog:
    """How often each pair of query and document was shown at each place, and clicked there."""

    views: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    """(query, document id, place from 1) -> searches."""
    clicks: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    """The same -> searches with a click; more clicks in one search count once."""
    searches: int = 0
    unknown_clicks: int = 0
    """Clicks of no known search, or on no document among its first places."""


def normal_query(text: str) -> str:
    """The form in which two queries are the same: NFC, lower case, single spaces."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


def read_ubi(queries: Path, events: Path, actions: Collection[str], depth: int) -> ClickLog:
    """Count both exports (JSON lines, each row the document itself or a hit with ``_source``).

    A document's place is that in query_response_hit_ids, moved by ``from`` of the request. Where no search has hit ids,
    the places are the ordinals of its ``impression`` events.

    Args:
        actions: The action_name values that count as clicks.
        depth: First places of each search that count.

    Raises:
        InputError: a file or row that cannot be read, or no search that shows what was found.
    """
    texts, shown = _searches(queries, depth)
    clicked: dict[str, set[str]] = defaultdict(set)
    ordinals: dict[str, dict[str, int]] = defaultdict(dict)
    for where, row, query_id, document in _events(events):
        if row.get("action_name") in actions:
            clicked[query_id].add(document)
        elif row.get("action_name") == "impression" and not shown:
            ordinals[query_id][document] = _ordinal(row, where)
    shown = shown or {query_id: places for query_id, places in ordinals.items() if query_id in texts}
    if not shown:
        raise InputError(
            f"{queries} has no query_response_hit_ids and {events} no impression with a position, so that nothing says "
            "what was shown where; export both indexes of the same time"
        )
    return _count(texts, shown, clicked, depth)


def clicked_documents(events: Path, actions: Collection[str]) -> dict[str, set[str]]:
    """Query id -> the documents of its events with one of ``actions``."""
    clicked: dict[str, set[str]] = defaultdict(set)
    for _, row, query_id, document in _events(events):
        if row.get("action_name") in actions:
            clicked[query_id].add(document)
    return clicked


@dataclass
class Attributed:
    """What the events of interleaved searches say of who drafted which document."""

    drafts: dict[str, dict[str, set[str]]] = field(default_factory=dict)
    """Query id -> search configuration -> documents of its events."""
    clients: dict[str, str] = field(default_factory=dict)
    """Query id -> ``client_id``, where an event names one."""


def attributed_documents(events: Path) -> Attributed:
    """Read the ``search_config`` of events of any action, an impression's too.

    It is an entry of event_attributes, or of event_attributes.object, where UBI's collector puts more details; events
    without one are passed over.
    """
    attributed = Attributed()
    for _, row, query_id, document in _events(events):
        config = _search_config(row["event_attributes"])
        if config is not None:
            attributed.drafts.setdefault(query_id, {}).setdefault(config, set()).add(document)
            client = row.get("client_id")
            if isinstance(client, str):
                attributed.clients[query_id] = client
    return attributed


def _search_config(attributes: Mapping[str, Any]) -> str | None:
    names = (part.get(SEARCH_CONFIG) for part in (attributes, attributes["object"]))
    return next((str(name) for name in names if name not in (None, "")), None)


def _events(path: Path) -> Iterator[tuple[str, Mapping[str, Any], str, str]]:
    """(path:line, event, query id, document) of the events on a document of a search."""
    for where, row in ubi_rows(path):
        query_id, document = row.get("query_id"), _object(row)
        if isinstance(query_id, str) and document is not None:
            yield where, row, query_id, document


def _searches(path: Path, depth: int) -> tuple[dict[str, str], dict[str, dict[str, int]]]:
    """Query id -> text, and query id -> document -> place."""
    texts: dict[str, str] = {}
    shown: dict[str, dict[str, int]] = {}
    for where, row in ubi_rows(path):
        query_id, text = row.get("query_id"), row.get("user_query")
        if not isinstance(query_id, str):
            raise InputError(f"{where}: no query_id; give an export of the index ubi_queries")
        if not isinstance(text, str) or not text.strip():
            continue
        texts[query_id] = normal_query(text)
        hits = row.get("query_response_hit_ids")
        if isinstance(hits, list) and hits:
            start = 1 + _offset(row)
            shown[query_id] = {str(hit): place for place, hit in enumerate(hits, start) if place <= depth}
    return texts, shown


def ubi_rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(path:line, the document) of each line of an export."""
    for number, row in read_jsonl(path):
        source = row.get("_source", row)
        yield f"{path}:{number}", source if isinstance(source, dict) else row


def _offset(row: Mapping[str, Any]) -> int:
    """``from`` of the request, which UBI stores as text; 0 where it is not JSON."""
    try:
        request = json.loads(str(row.get("query")))
    except ValueError:
        return 0
    start = request.get("from", 0) if isinstance(request, dict) else 0
    return start if isinstance(start, int) and start > 0 else 0


def _object(row: Mapping[str, Any]) -> str | None:
    attributes = row.get("event_attributes")
    described = attributes.get("object") if isinstance(attributes, dict) else None
    if not isinstance(described, dict):
        return None
    name = described.get("object_id") or described.get("internal_id")
    return None if name is None else str(name)


def _ordinal(row: Mapping[str, Any], where: str) -> int:
    position = row["event_attributes"].get("position")
    ordinal = position.get("ordinal") if isinstance(position, dict) else None
    if isinstance(ordinal, bool) or not isinstance(ordinal, int) or ordinal < 0:
        raise InputError(f"{where}: an impression needs event_attributes.position.ordinal, got {ordinal!r}")
    return ordinal


def _count(
    texts: Mapping[str, str], shown: Mapping[str, dict[str, int]], clicked: Mapping[str, set[str]], depth: int
) -> ClickLog:
    log = ClickLog(searches=len(shown))
    for query_id, places in shown.items():
        for document, place in places.items():
            if place <= depth:
                cell = (texts[query_id], document, place)
                log.views[cell] += 1
                log.clicks[cell] += document in clicked.get(query_id, ())
    known = sum(document in shown.get(query_id, ()) for query_id, ids in clicked.items() for document in ids)
    log.unknown_clicks = sum(map(len, clicked.values())) - known
    return log
