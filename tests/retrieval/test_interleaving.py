"""Team-draft interleaving: the drafts, the lists of a query log, and what the clicks on them say."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from osparse.cli.main import main
from osparse.errors import InputError
from osparse.evaluation.significance import share_interval, sign_test
from osparse.retrieval import interleave, judge_preference, team_draft
from osparse.retrieval.searcher import Searcher

Outcome = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]


def enumerated(
    first: str, second: str, depth: int, teams: tuple[str, str] = ("", ""), order: str = "", share: float = 1.0
) -> dict[Outcome, float]:
    """Every outcome of the published algorithm and its probability, by following both sides of each coin."""
    left = [next((d for d in ranking if d not in order), "") for ranking in (first, second)]
    if len(order) == depth or not all(left):
        rest = [d for d in dict.fromkeys(first + second) if d not in order]
        return {(tuple(order) + tuple(rest)[: depth - len(order)], tuple(teams[0]), tuple(teams[1])): share}
    sizes = len(teams[0]), len(teams[1])
    sides = [0] if sizes[0] < sizes[1] else [1] if sizes[1] < sizes[0] else [0, 1]
    outcomes: dict[Outcome, float] = {}
    for side in sides:
        grown = (teams[0] + left[0], teams[1]) if side == 0 else (teams[0], teams[1] + left[1])
        for outcome, p in enumerated(first, second, depth, grown, order + left[side], share / len(sides)).items():
            outcomes[outcome] = outcomes.get(outcome, 0.0) + p
    return outcomes


@pytest.mark.parametrize(
    ("first", "second"), [("abcd", "bade"), ("abcd", "abcd"), ("abcde", "b"), ("ab", "cd"), ("", "a")]
)
def test_the_drafts_are_those_of_the_published_algorithm(first: str, second: str) -> None:
    tries = 4000
    drafts = (team_draft(first, second, depth=4, seed=seed) for seed in range(tries))
    counted = Counter((tuple(draft.documents), tuple(draft.first), tuple(draft.second)) for draft in drafts)
    expected = enumerated(first, second, 4)
    assert counted.keys() == expected.keys()
    for outcome, p in expected.items():
        assert counted[outcome] / tries == pytest.approx(p, abs=4 * np.sqrt(p * (1 - p) / tries) + 1e-12)


def test_the_sign_test_and_the_interval_are_those_of_scipy() -> None:
    for wins, losses in [(0, 1), (1, 0), (5, 5), (8, 3), (3, 8), (40, 61), (5210, 4790)]:
        reference = binomtest(wins, wins + losses)
        assert sign_test(wins, losses) == pytest.approx(reference.pvalue, rel=1e-9)
        interval = reference.proportion_ci(method="wilson")
        assert share_interval(wins, wins + losses) == pytest.approx((interval.low, interval.high), abs=1e-12)
    assert (sign_test(0, 0), share_interval(0, 0)) == (1.0, (0.0, 1.0))


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def click(query_id: str, document: str, action: str = "click") -> dict[str, Any]:
    return {"query_id": query_id, "action_name": action, "event_attributes": {"object": {"object_id": document}}}


def write_run(path: Path, ranking: str, searches: int) -> Path:
    lines = (
        f"{query} Q0 {document} {rank} {1 / rank} x\n"
        for query in range(searches)
        for rank, document in enumerate(ranking, start=1)
    )
    path.write_text("".join(lines), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("xry", "xry", 0.5),  # the same system twice
        ("rxy", "xyr", 1.0),  # whoever is first: r is still there, and only the first system has it on top
        ("xry", "xyr", 0.75),  # the first takes r unless it drafts x and then loses the second round's coin
    ],
)
def test_users_who_click_one_document_prefer_as_often_as_the_closed_form_says(
    first: str, second: str, expected: float, tmp_path: Path
) -> None:
    searches = 1500
    log = write_rows(tmp_path / "log.jsonl", ({"query_id": str(n), "user_query": "q"} for n in range(searches)))
    runs = [write_run(tmp_path / f"{name}.run", r, searches) for name, r in (("new", first), ("old", second))]
    made = interleave(log, tmp_path / "lists.jsonl", runs=runs, depth=3)
    assert (made.searches, made.equal, made.one_sided, made.empty) == (searches, searches * (first == second), 0, 0)
    random = np.random.default_rng(1)
    clicks = [click(str(n), "r") for n in range(searches) if random.random() < 0.6]
    result = judge_preference(tmp_path / "lists.jsonl", write_rows(tmp_path / "events.jsonl", clicks))
    assert result.systems == ("new", "old") and result.clicked == len(clicks) == result.wins + result.losses
    low, high = result.interval
    assert low <= expected <= high and high - low < 0.07
    assert (result.p < 1e-6) == (expected > 0.5)
    assert result.delta == pytest.approx(result.share - 0.5)


def draft(query: str, first: list[str], second: list[str], **more: Any) -> dict[str, Any]:
    return {"query_id": query, "query_attributes": {"team_draft": {"a": first, "b": second}}, **more}


def test_what_counts_as_a_win(tmp_path: Path) -> None:
    """Repeated clicks, both teams clicked, a document of no team, other actions, unknown searches, other rows."""
    exported = [{"_id": "x", "_source": draft("1", ["p", "q"], ["r"], client_id="u")}]
    rows = [draft(str(n), ["p", "q"], ["r"], client_id="u" if n < 4 else "v") for n in (2, 3, 4, 5)]
    lists = write_rows(tmp_path / "q.jsonl", [*exported, *rows, rows[0], {"query_id": "9", "user_query": "other"}])
    first = [click("1", "r"), click("1", "p"), click("1", "p"), click("1", "q")]
    rest = [click("2", "p"), click("2", "r"), click("3", "r"), click("4", "p"), click("5", "rest"), click("8", "p")]
    events = write_rows(tmp_path / "e.jsonl", [*first, *rest, click("5", "r", "buy"), {"action_name": "page_exit"}])
    result = judge_preference(lists, events)
    assert (result.searches, result.clicked, result.other_clicks) == (5, 4, 2)
    assert (result.wins, result.losses, result.ties) == (2, 1, 1) and result.delta == 0.125
    bought = judge_preference(lists, events, actions=["buy"])
    assert (bought.wins, bought.losses, bought.other_clicks, bought.interval[0]) == (0, 1, 0, 0.0)
    by_client = judge_preference(lists, events, unit="client")  # u: a win, a tie and a loss; v: a win
    assert (by_client.wins, by_client.losses, by_client.ties, by_client.clicked) == (1, 0, 1, 4)


def attributed(query_id: str, action: str, document: str, config: str | None, client: str = "u") -> dict[str, Any]:
    """An event as UBI's collector sends it for a hit of OpenSearch's own team draft."""
    return {
        "application": "shop", "action_name": action, "query_id": query_id, "session_id": "s", "client_id": client,
        "timestamp": "2026-11-01T10:00:00.000Z", "message_type": "CLICK_THROUGH", "message": f"{document} (1)",
        "event_attributes": {
            "object": {"object_id": document, "object_id_field": "asin", "description": "", "search_config": config},
            "position": {"ordinal": 2},
        },
    }  # fmt: skip


def test_clicks_on_hits_that_opensearch_interleaved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same clicks with the team in the lists and in the events give the same preference."""
    rows = [draft(str(n), ["p", "q"], ["r"], client_id="u" if n < 4 else "v") for n in (1, 2, 3, 4, 5)]
    team = {"p": "a", "q": "a", "r": "b"}
    shown = [("1", "r"), ("1", "p"), ("1", "p"), ("1", "q"), ("2", "p"), ("2", "r"), ("3", "r"), ("4", "p")]
    clicks = [attributed(q, "click", d, team[d], "u" if q < "4" else "v") for q, d in shown]
    seen = [attributed("5", "impression", d, team[d], "v") for d in "pqr"]
    other = [attributed("6", "click", "p", None), attributed("5", "click", "z", ""), {"action_name": "page_exit"}]
    lists = write_rows(tmp_path / "q.jsonl", rows)
    events = write_rows(tmp_path / "e.jsonl", [*clicks, *seen, *other])
    for unit in ("search", "client"):
        by_events = judge_preference(None, events, unit=unit)
        assert by_events == judge_preference(lists, events, unit=unit)
        assert (by_events.searches, by_events.clicked, by_events.other_clicks) == (5, 4, 2)
    flat = [{**e, "event_attributes": {**e["event_attributes"], "search_config": "c"}} for e in seen]
    queries = write_rows(tmp_path / "ubi_queries.jsonl", [{"query_id": "1", "user_query": "q"}])
    assert judge_preference(queries, events).wins == 2  # an export of ubi_queries without teams
    with pytest.raises(InputError, match="must name two search configurations, got 3: a, b, c"):
        judge_preference(None, write_rows(tmp_path / "three.jsonl", [*clicks, *flat]))
    with pytest.raises(InputError, match="e.jsonl has no event with event_attributes.search_config; give the file"):
        judge_preference(None, write_rows(tmp_path / "e.jsonl", other))
    write_rows(events, clicks)
    for words, code, text in (([str(events)], 0, "a against b: 2 wins, 1 losses, 1 ties"), ([], 2, "got 0 files")):
        with pytest.raises(SystemExit) as stopped:
            main(["judge", "preference", *words])
        assert (stopped.value.code or 0) == code and text in "".join(capsys.readouterr())


def test_the_lists_of_two_indices(
    make_cluster: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each list is the draft of what the searchers answer; UBI's client is kept, and a repeated row is one search."""
    cluster = make_cluster("client")
    (tmp_path / "log.jsonl").write_text(
        '{"query_id": "s1", "client_id": "u", "user_query": "clay"}\n{"_source": {"query_id": "s2", "user_query": '
        '"bread"}}\n{"query_id": "s1", "user_query": "again"}\nmoon tide\n',
        encoding="utf-8",
    )
    plain = Searcher.__init__
    monkeypatch.setattr(Searcher, "__init__", lambda self, c, index, **more: plain(self, c, "world", **more))
    hits = Searcher(cluster, "world").passes.hits(["clay", "bread", "moon tide"], size=3)
    made = interleave(tmp_path / "log.jsonl", tmp_path / "out.jsonl", cluster=cluster, indices=["new", "old"], depth=3)
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(row["query_id"], row.get("client_id")) for row in rows] == [("s1", "u"), ("s2", None), ("4", None)]
    for row, found in zip(rows, hits, strict=True):
        ranking = [hit["_id"] for hit in found]
        expected = team_draft(ranking, ranking, depth=3, seed=f"0\0{row['query_id']}")
        assert row["query_response_hit_ids"] == expected.documents
        assert row["query_attributes"]["team_draft"] == {"new": expected.first, "old": expected.second}
    assert made.equal + made.empty == made.searches == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"runs": []}, "two `indices` or two `runs`; got nothing"),
        ({"runs": ["a.run"]}, "interleaving needs two systems"),
        ({"runs": ["a.run", "a.run"]}, "two systems of different names"),
        ({"runs": ["a.run", "b.run"], "depth": 0}, "`depth` must be at least 1, got 0"),
        ({"indices": ["a", "b"]}, "`indices` need `cluster`"),
        ({"runs": ["a.run", "other.run"]}, "other.run ranks none of the log's searches"),
    ],
)
def test_what_cannot_be_interleaved_is_refused(
    options: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.run", "b.run"):
        write_run(tmp_path / name, "xy", 1)
    (tmp_path / "other.run").write_text("else Q0 x 1 1.0 t\n", encoding="utf-8")
    log = write_rows(tmp_path / "log.jsonl", [{"query_id": "0", "user_query": "q"}])
    with pytest.raises(InputError, match=message):
        interleave(log, tmp_path / "out.jsonl", **options)
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([{"query_id": "1", "user_query": "q"}], {}, "no search with query_attributes.team_draft"),
        ([draft("1", ["p"], ["r"]), draft("1", ["r"], ["p"])], {}, "q.jsonl:2: the search 1 has another draft before"),
        ([{**draft("1", [], []), "query_attributes": {"team_draft": {"a": []}}}], {}, "documents of two systems"),
        ([draft("1", ["p"], ["r"])], {"unit": "client"}, "the search 1 has no client_id"),
        ([draft("1", ["p"], ["r"])], {"unit": "day"}, "`unit` must be search or client, got 'day'"),
        ([draft("1", ["p"], ["r"])], {"actions": ["buy"]}, "has no buy on a document that one of the systems drafted"),
    ],
)
def test_what_cannot_be_counted_is_refused(
    rows: list[dict[str, Any]], options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    events = write_rows(tmp_path / "e.jsonl", [click("1", "p")])
    with pytest.raises(InputError, match=message):
        judge_preference(write_rows(tmp_path / "q.jsonl", rows), events, **options)


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, ranking in (("new", "rx"), ("old", "xr")):
        write_run(tmp_path / f"{name}.run", ranking, 2)
    log = write_rows(tmp_path / "log.jsonl", [{"query_id": str(n), "user_query": "q"} for n in range(2)])
    events = write_rows(tmp_path / "e.jsonl", [click("0", "r"), click("1", "r")])
    runs = [word for name in ("new", "old") for word in ("--run", str(tmp_path / f"{name}.run"))]
    lists = str(tmp_path / "lists.jsonl")
    for words, shown in (
        (["interleave", str(log), *runs, "--output", lists], "2 lists of new and old"),
        (["preference", lists, str(events)], "new against old: 2 wins, 0 losses, 0 ties"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(["judge", *words])
        assert not stopped.value.code and shown in capsys.readouterr().out
