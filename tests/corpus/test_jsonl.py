"""JSON lines: the three kinds of rows, and every way a file can be wrong, with its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from osparse.algorithms.language import guess_language, hangul_share
from osparse.contracts.dataset import SPLITS, Dataset
from osparse.corpus import build_dataset
from osparse.errors import DatasetError


def build(folder: Path, *rows: Any, name: str = "rows.jsonl") -> Dataset:
    lines = [row if isinstance(row, bytes) else json.dumps(row, ensure_ascii=False).encode() for row in rows]
    (folder / name).write_bytes(b"\n".join(lines))
    return build_dataset("jsonl", [folder / name], folder / "dataset")


def qrels(dataset: Dataset) -> set[tuple[str, str, float, str]]:
    splits = [name.split(".")[1] for name in dataset.manifest.counts if name.startswith("qrels.")]
    return {row for split in splits for row in dataset.qrels(split).collect().iter_rows()}


def test_titles_become_queries_that_their_whole_group_answers(tmp_path: Path) -> None:
    dataset = build(
        tmp_path,
        {"id": "1", "text": "배나무", "title": "배", "group": "pear", "date": "2024-05-01", "source": "garden"},
        {"id": "2", "text": "pear tree", "title": "pear", "group": "pear", "lang": "en-GB"},
        {"id": "3", "text": "no title, its own group"},
    )
    assert qrels(dataset) == {(q, d, 1.0, "annotated") for q in ("1:q", "2:q") for d in ("1", "2")}
    documents = dataset.documents.collect().to_dicts()
    assert [d["lang"] for d in documents] == ["ko", "en-GB", "en"]
    assert [d["title"] for d in documents] == ["배", "pear", ""]
    assert [d["source"] for d in documents] == ["garden", "jsonl", "jsonl"]
    assert str(documents[0]["date"]) == "2024-05-01"
    assert [d["group"] for d in documents] == ["pear", "pear", "3"]
    assert dataset.queries.collect()["text"].to_list() == ["배", "pear"]


def candidates(dataset: Dataset) -> set[tuple[str, float | None, float | None, str, str]]:
    """(text, label, score, origin, scorer) of all splits."""
    text = dict(dataset.documents.select("id", "text").collect().iter_rows())
    splits = [split for split in SPLITS if dataset.has_candidates(split)]
    rows = [row for split in splits for row in dataset.candidates(split).collect().rows()]
    return {(text[document], *rest) for _, document, *rest in rows}


def test_pairs_are_judged_and_their_negatives_are_candidates(tmp_path: Path) -> None:
    dataset = build(
        tmp_path,
        {"query": "what?", "pos": ["yes", "yes"], "neg": ["no"]},
        {"query": "what?", "pos": ["also"]},
        {"query": " ", "pos": ["x"]},
        {"query": "nothing", "pos": [""]},
    )
    text = dict(dataset.documents.select("id", "text").collect().iter_rows())
    assert {(text[d], s, o) for _, d, s, o in qrels(dataset)} == {
        ("yes", 1.0, "annotated"),
        ("also", 1.0, "annotated"),
    }
    assert candidates(dataset) == {("no", 0.0, None, "annotated", "")}
    assert dataset.manifest.sources[0].dropped == {"empty query": 1, "no relevant text": 1}


def test_scores_are_a_teachers(tmp_path: Path) -> None:
    dataset = build(tmp_path, {"query": "q", "docs": ["a", "b"], "scores": [3, -1.5], "lang": "de"})
    text = dict(dataset.documents.select("id", "text").collect().iter_rows())
    assert {(text[d], s, o) for _, d, s, o in qrels(dataset)} == {("a", 1.0, "mined")}
    assert candidates(dataset) == {
        ("a", None, 3.0, "distilled", "teacher"),
        ("b", None, -1.5, "distilled", "teacher"),
    }
    assert dataset.documents.collect()["lang"].to_list() == ["de", "de"]


def test_a_negative_that_is_judged_relevant_elsewhere_is_none(tmp_path: Path) -> None:
    dataset = build(tmp_path, {"query": "q", "pos": ["a"], "neg": ["b"]}, {"query": "q", "pos": ["b"]})
    assert {score for _, _, score, _ in qrels(dataset)} == {1.0}
    assert sum(rows for name, rows in dataset.manifest.counts.items() if name.startswith("qrels")) == 2
    assert candidates(dataset) == set()


def test_identical_texts_answer_the_same_queries(tmp_path: Path) -> None:
    rows = [{"id": str(i), "text": "the very same", "title": f"title {i}", "group": "one"} for i in range(2)]
    far = {"id": "far", "text": "the very same", "group": "far away"}
    dataset = build(tmp_path, *rows, far)
    assert {(q, d) for q, d, _, _ in qrels(dataset)} == {(f"{i}:q", d) for i in range(2) for d in ("0", "1", "far")}


DOCUMENT = {"id": "1", "text": "text", "title": "title"}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (b"{", ":2: not JSON"),
        (b"<p>", ":2: not JSON.*HTML page"),
        (b"\xff\xfe", ":2: not JSON"),
        (b'{"id": "2", "text": "\\ud800"}', ":2: not JSON.*surrogates"),
        (b'{"query": "q", "docs": ["a"], "scores": [NaN]}', ":2: not JSON: NaN"),
        (b"[" * 100_000, ":2: not JSON"),
        (b"[1]", ":2: expected a JSON object, found list"),
        ({"id": "2"}, ":2: a document row needs id, text.*missing: text"),
        ({"id": "2", "text": "t", "txt": "t"}, ":2: .*unknown: txt"),
        ({"id": 1.5, "text": "t"}, ":2: id must be a string, found float"),
        ({"id": "2", "text": None}, ":2: text must be a string, found NoneType"),
        ({"id": "1", "text": "t"}, ":2: the id '1' was used before, at .*:1"),
        ({"id": "2", "text": "t", "date": "May 2024"}, ":2: date must begin as YYYY-MM-DD, found 'May 2024'"),
    ],
)
def test_the_first_malformed_line_stops_the_build(tmp_path: Path, bad: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=f"rows.jsonl{message}"):
        build(tmp_path, DOCUMENT, bad)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"query": "q"}, "missing: pos"),
        ({"query": "q", "pos": 1}, "pos must be a list, found int"),
        ({"query": "q", "pos": [1]}, "pos must hold strings"),
        ({"query": "q", "pos": ["a"], "neg": ["a"]}, "the same text is in pos and neg: 'a'"),
        ({"query": "q", "docs": ["a"]}, "missing: scores"),
        ({"query": "q", "docs": ["a"], "scores": [1, 2]}, "scores must be 1 numbers"),
        ({"query": "q", "docs": ["a"], "scores": [True]}, "scores must be 1 numbers"),
        ({"query": "q", "docs": ["a"], "scores": [1e39]}, r"a score is larger than 3.4e\+38"),
        ({"query": "q", "docs": ["a"], "scores": [10**400]}, r"a score is larger than 3.4e\+38"),
    ],
)
def test_malformed_judgements(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=f"rows.jsonl:1: .*{message}"):
        build(tmp_path, row)


def test_nothing_kept_is_an_error_that_says_why(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"kept 0 of 0 rows \(it is empty\)"):
        build(tmp_path, b"", b"")
    with pytest.raises(DatasetError, match=r"rows.jsonl is empty \(0 bytes\); fetch the file again"):
        build(tmp_path)
    with pytest.raises(DatasetError, match=r"kept 0 of 1 rows \(1 no text\)"):
        build(tmp_path, {"id": "1", "text": " "})
    with pytest.raises(DatasetError, match="nowhere.jsonl does not exist"):
        build_dataset("jsonl", [tmp_path / "nowhere.jsonl"], tmp_path / "dataset")
    with pytest.raises(DatasetError, match="is not a file"):
        build_dataset("jsonl", [tmp_path], tmp_path / "dataset")


def test_several_files_are_one_source(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(DOCUMENT))
    (tmp_path / "b.jsonl").write_text(json.dumps({**DOCUMENT, "id": "2"}))
    dataset = build_dataset("jsonl", [tmp_path / "a.jsonl", tmp_path / "b.jsonl"], tmp_path / "dataset")
    assert dataset.documents.select(pl.len()).collect().item() == 2
    (tmp_path / "b.jsonl").write_text(json.dumps(DOCUMENT))
    with pytest.raises(DatasetError, match="b.jsonl:1: the id '1' was used before, at .*a.jsonl:1"):
        build_dataset("jsonl", [tmp_path / "a.jsonl", tmp_path / "b.jsonl"], tmp_path / "other")


@pytest.mark.parametrize(
    ("text", "lang", "share"),
    [
        ("한글", "ko", 1.0),
        ("GNU 도구", "ko", 0.4),
        ("한 word", "ko", 0.2),
        ("where is 경복궁", "en", 3 / 10),
        ("who founded 카카오", "en", 3 / 13),
        ("opening hours of the 명동 branch", "en", 2 / 25),
        ("Seoul 지하철 노선", "ko", 5 / 10),
        ("PyTorch DataLoader 사용법", "ko", 3 / 20),
        ("the API에서 JSON을 parse and store", "ko", 3 / 26),
        ("日本語です", "ja", 0.0),
        ("日本語", "und", 0.0),
        ("123", "und", 0.0),
    ],
)
def test_language_guess(text: str, lang: str, share: float) -> None:
    assert hangul_share(text) == pytest.approx(share)
    assert guess_language(text) == lang


def test_negs_is_another_name_for_neg(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    one = build(tmp_path / "a", {"query": "q", "pos": ["a"], "neg": ["b"]}, {"query": "r", "pos": ["c"]})
    other = build(tmp_path / "b", {"query": "q", "pos": ["a"], "negs": ["b"]}, {"query": "r", "pos": ["c"]})
    assert one.fingerprint == other.fingerprint
