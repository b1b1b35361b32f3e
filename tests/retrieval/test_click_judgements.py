"""Clicks in UBI's format become graded judgements, corrected for the places of the documents."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from osparse.cli.main import main
from osparse.contracts.dataset import Dataset
from osparse.errors import InputError
from osparse.evaluation.measures import judged_sets
from osparse.retrieval import import_judgements, judge_clicks
from osparse.retrieval.judging.click_model import Cells, comparable, fit

LOOKS = (1.0, 0.6, 0.35, 0.2)
RELEVANCE = {"a": 0.5, "b": 0.3, "c": 0.1, "d": 0.02}


def cells(pair: list[int], place: list[int], views: list[float], clicks: list[float]) -> Cells:
    return Cells(np.array(pair), np.array(place), np.array(views), np.array(clicks))


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def click(query_id: str, document: str, action: str = "click") -> dict[str, Any]:
    return {"query_id": query_id, "action_name": action, "event_attributes": {"object": {"object_id": document}}}


def simulate(searches: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Users who look at place k with LOOKS[k] and click what they look at with its RELEVANCE; "a" is mostly on top."""
    random, queries, events = np.random.default_rng(3), [], []
    for number in range(searches):
        order = sorted(RELEVANCE, key=lambda name: -RELEVANCE[name] - random.gumbel(0, 0.2))
        queries.append({"query_id": f"s{number}", "user_query": "Tide  now", "query_response_hit_ids": order})
        for place, document in enumerate(order):
            if random.random() < LOOKS[place] * RELEVANCE[document]:
                events.append(click(f"s{number}", document))
    return queries, events


def test_two_documents_that_change_places_have_a_closed_form() -> None:
    """Click rates 0.4, 0.1 at the first place and 0.2, 0.05 at the second: looks 1 and 1/2, relevance 0.4 and 0.1."""
    model = fit(cells([0, 1, 0, 1], [0, 0, 1, 1], [1000] * 4, [400, 100, 200, 50]))
    np.testing.assert_allclose(model.examination, [1, 0.5], atol=1e-3)
    np.testing.assert_allclose(model.relevance, [0.4, 0.1], atol=1e-3)
    np.testing.assert_allclose(model.examined, [1500, 1500], rtol=1e-3)


def test_places_without_a_common_document_are_not_compared() -> None:
    """Places 0-1 share pair 0 and 1-2 share pair 1; place 3 has a pair of its own."""
    chosen = comparable(cells([0, 0, 1, 1, 2], [0, 1, 1, 2, 3], [5, 5, 5, 5, 9], [0] * 5))
    assert chosen.tolist() == [True, True, True, True, False]


def test_simulated_users_are_recovered(tmp_path: Path) -> None:
    queries, events = simulate(40_000)
    made = judge_clicks(
        write_rows(tmp_path / "q.jsonl", queries), write_rows(tmp_path / "e.jsonl", events), tmp_path / "out.jsonl"
    )
    rows = {row["document_id"]: row for row in map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())}
    np.testing.assert_allclose([made.examination[place] for place in (1, 2, 3, 4)], LOOKS, atol=0.03)
    assert {name: row["relevance"] for name, row in rows.items()} == pytest.approx(RELEVANCE, abs=0.02)
    assert {name: row["grade"] for name, row in rows.items()} == {"a": 3, "b": 2, "c": 1, "d": 0}
    assert {row["query"] for row in rows.values()} == {"tide now"}
    # Without the correction, b's share of clicks is far below its relevance: it seldom stands on top.
    shown = sum(query["query_response_hit_ids"].index("b") < 4 for query in queries)
    assert rows["b"]["clicks"] / shown < 0.22 < rows["b"]["relevance"]


def test_what_counts_as_a_search_and_a_click(tmp_path: Path) -> None:
    """Hits of an export, the second page's places, two clicks in one search, other actions and unknown documents."""
    first = {"query_id": "1", "user_query": "q", "query_response_hit_ids": ["a", "b"]}
    second = {"query_id": "2", "user_query": " Q", "query": '{"from": 1}', "query_response_hit_ids": ["a", "c"]}
    queries = write_rows(tmp_path / "q.jsonl", [{"_id": "x", "_source": first}, second, {"query_id": "3"}])
    clicks = [click("1", "a"), click("1", "a"), click("2", "c"), click("1", "b", "watch"), click("1", "z")]
    events = write_rows(tmp_path / "e.jsonl", [*clicks, click("9", "a"), {"action_name": "page_exit"}])
    made = judge_clicks(queries, events, tmp_path / "out.jsonl", min_examined=0.01)
    rows = {row["document_id"]: row for row in map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())}
    assert (made.searches, made.queries, made.unknown_clicks, made.not_comparable) == (2, 1, 2, 1)
    # Nothing was clicked at the second place, so that nobody is known to have looked at b.
    assert {name: row["clicks"] for name, row in rows.items()} == {"a": 1} and made.too_few == 1
    both = judge_clicks(queries, events, tmp_path / "both.jsonl", actions=["click", "watch"], min_examined=0.01)
    assert (both.judgements, both.too_few) == (2, 0)


def test_impressions_tell_the_places_where_searches_have_no_hits(tmp_path: Path) -> None:
    def impression(query_id: str, document: str, ordinal: int) -> dict[str, Any]:
        row = click(query_id, document, "impression")
        row["event_attributes"]["position"] = {"ordinal": ordinal}
        return row

    queries = write_rows(tmp_path / "q.jsonl", [{"query_id": name, "user_query": "q"} for name in "12"])
    shown = [impression("1", "a", 1), impression("1", "b", 2), impression("2", "b", 1), impression("2", "a", 2)]
    events = write_rows(tmp_path / "e.jsonl", [*shown, click("1", "a"), click("2", "b")])
    made = judge_clicks(queries, events, tmp_path / "out.jsonl", min_examined=0.5)
    assert made.examination == pytest.approx({1: 1, 2: 0}, abs=1e-3)


HITS = {"query_id": "1", "user_query": "q", "query_response_hit_ids": ["a", "b"]}


@pytest.mark.parametrize(
    ("query", "event", "options", "message"),
    [
        (HITS, click("1", "a"), {}, "no document was shown at two places"),
        (HITS, click("1", "z"), {}, "has no click on a document that .* shows"),
        ({"user_query": "q"}, click("1", "a"), {}, "q.jsonl:1: no query_id"),
        ({"query_id": "1", "user_query": "q"}, click("1", "a"), {}, "nothing says what was shown where"),
        (HITS, click("1", "a"), {"grades_from": [0.4, 0.2]}, "increasing numbers between 0 and 1"),
        (HITS, click("1", "a"), {"min_examined": 0}, "`min_examined` must be above 0, got 0"),
    ],
)
def test_what_cannot_be_used_is_refused(
    query: dict[str, Any], event: dict[str, Any], options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    paths = write_rows(tmp_path / "q.jsonl", [query]), write_rows(tmp_path / "e.jsonl", [event])
    with pytest.raises(InputError, match=message):
        judge_clicks(*paths, tmp_path / "out.jsonl", **options)
    assert not (tmp_path / "out.jsonl").exists()


def test_the_judgements_come_into_a_dataset_by_the_query_text(dataset: Dataset, tmp_path: Path) -> None:
    (en,) = [judged for judged in judged_sets(dataset, "test") if judged.direction == "en->en"]
    text = en.queries["q:clay:en"].upper()
    row = {"query": text, "document_id": "bread:en", "grade": 2}
    judged = write_rows(tmp_path / "clicks.jsonl", [row, {**row, "query": "nobody asked this"}])
    made = import_judgements(judged, dataset.path, tmp_path / "judged")
    same_text = [query for query, other in en.queries.items() if other.upper() == text]
    assert (made.added, made.other_queries) == (len(same_text), 1)
    (after,) = [part for part in judged_sets(Dataset.open(made.path), "test") if part.direction == "en->en"]
    assert after.qrels["q:clay:en"] == {**en.qrels["q:clay:en"], "bread:en": 2}
    write_rows(judged, [{**row, "document_id": "clay:en", "grade": 3}, row])
    with pytest.raises(InputError, match="pass `keep=True` to keep the dataset's grades"):
        import_judgements(judged, dataset.path, tmp_path / "other")
    import_judgements(judged, dataset.path, tmp_path / "other", keep=True)
    (other,) = [part for part in judged_sets(Dataset.open(tmp_path / "other"), "test") if part.direction == "en->en"]
    assert other.qrels == after.qrels
    write_rows(judged, [{**row, "query": "nobody asked this"}])
    with pytest.raises(InputError, match="none of the file's queries is a query of the split test"):
        import_judgements(judged, dataset.path, tmp_path / "none")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    queries, events = simulate(2_000)
    paths = write_rows(tmp_path / "q.jsonl", queries), write_rows(tmp_path / "e.jsonl", events)
    with pytest.raises(SystemExit) as stopped:
        main(["judge", "clicks", *map(str, paths), "--output", str(tmp_path / "out.jsonl")])
    assert not stopped.value.code and "4 judgements of 1 queries" in capsys.readouterr().out
