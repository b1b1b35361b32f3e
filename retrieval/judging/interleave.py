"""Interleaved lists of two systems for the searches of a query log."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osparse.deployer.cluster.client import Cluster
from osparse.errors import InputError
from osparse.evaluation.named_measures import Rankings
from osparse.io.files import require_free, write_atomic
from osparse.retrieval.judging.team_draft import team_draft
from osparse.retrieval.judging.ubi import DRAFT
from osparse.retrieval.monitoring.query_log import logged_queries
from osparse.retrieval.searcher import Searcher
from osparse.retrieval.systems.run_file import read_run


@dataclass(frozen=True)
class Search:
    """One search of the log."""

    text: str
    client: str | None
    """``client_id`` of UBI."""


@dataclass(frozen=True)
class Interleaved:
    path: Path
    systems: tuple[str, str]
    searches: int
    equal: int
    """Searches for which both systems show the same list; their clicks say nothing."""
    one_sided: int
    """Searches for which only one system finds documents: nobody drafts them, and their clicks say nothing."""
    empty: int
    """Searches for which neither finds a document."""


def interleave(
    log: Path | str,
    output: Path | str,
    *,
    cluster: Cluster | None = None,
    indices: Sequence[str] = (),
    runs: Sequence[Path | str] = (),
    depth: int = 10,
    seed: int = 0,
    overwrite: bool = False,
) -> Interleaved:
    """Write a team-draft list of two systems for each search of a log, as UBI's index ubi_queries has searches.

    ``query_response_hit_ids`` is the list to show; ``query_attributes.team_draft`` says which system drafted which of
    its documents. :func:`osparse.retrieval.judge_preference` counts the clicks.

    Args:
        log: A query a line, or JSON lines such as an export of ubi_queries. A search has the ``query_id`` of its row,
            without one the number of its line; a row of an id that was there before is passed over.
        output: A ``.jsonl`` file.
        cluster: Where ``indices`` are.
        indices: Two deployed indices.
        runs: Instead of them two TREC run files, whose queries are the log's ``query_id``.
        depth: Documents of a list.
        seed: Of the coins; the draft of a search depends on it and on the search's ``query_id`` alone.
        overwrite: Replace ``output``.

    Raises:
        InputError: not two systems; a log, a run or an ``output`` that cannot be used.
        ClusterError: see its text.
    """
    target = Path(output)
    if target.suffix != ".jsonl":
        raise InputError(f"`output` must end in .jsonl, got {target.name}")
    require_free(target, overwrite)
    if depth < 1:
        raise InputError(f"`depth` must be at least 1, got {depth}")
    searches = _searches(Path(log))
    (one, first), (other, second) = _systems(searches, cluster, indices, runs, depth).items()
    rows = list(_rows(searches, (one, other), (first, second), depth, seed))
    write_atomic(target, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    pairs = [(first[query], second[query]) for query in searches]
    return Interleaved(
        path=target,
        systems=(one, other),
        searches=len(searches),
        equal=sum(bool(a) and a == b for a, b in pairs),
        one_sided=sum(bool(a) != bool(b) for a, b in pairs),
        empty=sum(not a and not b for a, b in pairs),
    )


def _searches(log: Path) -> dict[str, Search]:
    searches: dict[str, Search] = {}
    for where, text, row in logged_queries(log):
        query, client = row.get("query_id"), row.get("client_id")
        name = query if isinstance(query, str) and query else where.rpartition(":")[2]
        searches.setdefault(name, Search(text, client if isinstance(client, str) else None))
    if not searches:
        raise InputError(f"{log} has no query")
    return searches


def _systems(
    searches: Mapping[str, Search],
    cluster: Cluster | None,
    indices: Sequence[str],
    runs: Sequence[Path | str],
    depth: int,
) -> dict[str, Rankings]:
    """Name of each of the two systems -> its rankings."""
    if (cluster is None) != (not indices):
        raise InputError("`indices` need `cluster`, and `cluster` needs `indices`: two indices and where they are")
    systems = {index: _of_index(cluster, index, searches, depth) for index in indices if cluster is not None}
    systems |= {Path(run).name.removesuffix(".run"): _of_run(Path(run), searches, depth) for run in runs}
    if len(systems) != 2 or (indices and runs):
        given = ", ".join([*indices, *map(str, runs)]) or "nothing"
        raise InputError(f"interleaving needs two systems of different names: two `indices` or two `runs`; got {given}")
    return systems


def _of_index(cluster: Cluster, index: str, searches: Mapping[str, Search], depth: int) -> Rankings:
    """Equal texts are searched once."""
    texts = list(dict.fromkeys(search.text for search in searches.values()))
    hits = Searcher(cluster, index).passes.hits(texts, size=depth)
    of_text = {text: [str(row["_id"]) for row in rows] for text, rows in zip(texts, hits, strict=True)}
    return {query: of_text[search.text] for query, search in searches.items()}


def _of_run(path: Path, searches: Mapping[str, Search], depth: int) -> Rankings:
    run = read_run(path)
    if not run.keys() & searches.keys():
        raise InputError(
            f"{path} ranks none of the log's searches (like {next(iter(searches))!r}); the log's query_id must be the "
            "query of the run"
        )
    return {query: list(run.get(query, {}))[:depth] for query in searches}


def _rows(
    searches: Mapping[str, Search], names: tuple[str, str], rankings: tuple[Rankings, Rankings], depth: int, seed: int
) -> Iterator[dict[str, Any]]:
    for query, search in searches.items():
        draft = team_draft(rankings[0][query], rankings[1][query], depth=depth, seed=f"{seed}\0{query}")
        yield {
            "query_id": query,
            **({"client_id": search.client} if search.client is not None else {}),
            "user_query": search.text,
            "query_response_hit_ids": draft.documents,
            "query_attributes": {DRAFT: dict(zip(names, draft.teams, strict=True))},
        }
