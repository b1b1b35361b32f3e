"""Splits: the rule against its closed form, and that nothing held back is left in training."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import apt_world
import pytest

from osparse.contracts.dataset import SPLITS
from osparse.corpus import build_dataset, dataset_stats
from osparse.corpus.builder.build import Input, build_from
from osparse.corpus.split.splits import split_of
from osparse.io.files import canonical_json


def test_the_rule_is_the_printed_one() -> None:
    for i in range(500):
        number = int(hashlib.md5(f"g{i}".encode()).hexdigest(), 16)
        expected = "test" if number % 5 == 0 else "validation" if number // 5 % 10 == 0 else "train"
        assert split_of(f"g{i}") == expected
    assert split_of("") == "train"


def test_shares_are_as_the_rule_says_and_another_seed_deals_otherwise() -> None:
    for seed in (0, 1, 2):
        counts = Counter(split_of(f"g{i}", seed) for i in range(5000))
        assert counts["test"] == pytest.approx(1000, rel=0.1)
        assert counts["validation"] == pytest.approx(400, rel=0.15)
    assert [split_of(f"g{i}", 1) for i in range(50)] != [split_of(f"g{i}", 2) for i in range(50)]


def test_debian_splits_share_no_group_query_or_text(tmp_path: Path) -> None:
    dataset = build_dataset("debian", [apt_world.write_lists(tmp_path / "lists", records=200)], tmp_path / "dataset")
    stats = dataset_stats(dataset)
    assert set(stats.splits) == set(SPLITS)
    assert all(value == 0 for pair in stats.overlap.values() for value in pair.values())
    groups = dict(dataset.documents.select("id", "group").collect().iter_rows())
    for split in SPLITS:
        for document in dataset.qrels(split).collect()["document_id"]:
            assert split_of(groups[document]) == split


def _write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(canonical_json(row) + "\n" for row in rows), encoding="utf-8")
    return path


def _groups(split: str, count: int) -> list[str]:
    return [name for name in (f"g{i}" for i in range(1000)) if split_of(name) == split][:count]


def test_a_training_group_with_a_test_text_leaves_training_but_stays_searchable(tmp_path: Path) -> None:
    (held,), (tied, free) = _groups("test", 1), _groups("train", 2)
    rows: list[dict[str, object]] = [
        {"id": "t1", "text": "the same text", "title": "held back", "group": held},
        {"id": "a1", "text": "the same text", "title": "copy", "group": tied},
        {"id": "a2", "text": "a sibling of the copy", "title": "sibling", "group": tied},
        {"id": "b1", "text": "something else", "title": "free", "group": free},
    ]
    dataset = build_dataset("jsonl", [_write(tmp_path / "rows.jsonl", rows)], tmp_path / "dataset")
    test = dataset.qrels("test").collect()
    assert set(zip(test["query_id"], test["document_id"], strict=True)) == {("t1:q", "t1"), ("t1:q", "a1")}
    assert dataset.qrels("train").collect()["query_id"].to_list() == ["b1:q"]
    assert dataset.documents.collect()["id"].to_list() == ["t1", "a1", "a2", "b1"]
    assert dataset.manifest.notes["judgements_removed"] == {"train: a text or query of an earlier split": 3}
    assert dataset_stats(dataset).shared_groups == 0


def test_a_training_query_worded_as_a_test_query_is_removed(tmp_path: Path) -> None:
    (held,), (other, free) = _groups("test", 1), _groups("train", 2)
    rows: list[dict[str, object]] = [
        {"id": "t", "text": "one", "title": "same words", "group": held},
        {"id": "a", "text": "two", "title": "same words", "group": other},
        {"id": "b", "text": "three", "title": "own words", "group": free},
    ]
    dataset = build_dataset("jsonl", [_write(tmp_path / "rows.jsonl", rows)], tmp_path / "dataset")
    assert dataset.qrels("train").collect()["query_id"].to_list() == ["b:q"]


def test_a_held_back_text_is_no_training_negative(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"query": f"question {i}", "pos": [f"answer {i}"]} for i in range(60)]
    for i, row in enumerate(rows):
        row["neg"] = [f"answer {(i + 1) % 60}", "nobody's answer"]
    dataset = build_dataset("jsonl", [_write(tmp_path / "rows.jsonl", rows)], tmp_path / "dataset")
    relevant = {s: set(dataset.qrels(s).collect()["document_id"]) for s in SPLITS}
    shown = {s: set(dataset.candidates(s).collect()["document_id"]) for s in SPLITS}
    assert all(relevant.values())
    for one in SPLITS:
        for other in SPLITS:
            assert one == other or not shown[one] & relevant[other]
    assert len(set.intersection(*shown.values())) == 1  # the text that answers nothing may be a negative anywhere


def test_what_a_published_split_holds_back_is_kept_out_of_rows_dealt_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    _write(folder / "corpus.jsonl", [{"_id": f"d{i}", "title": "", "text": f"passage {i}"} for i in range(2)])
    _write(folder / "queries.jsonl", [{"_id": f"q{i}", "text": f"question {i}"} for i in range(2)])
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq0\td0\t1\nq1\td1\t1\n")
    one, two, three = _groups("train", 3)
    rows: list[dict[str, object]] = [
        {"id": "a", "text": "passage 0", "title": "other words", "group": one},
        {"id": "b", "text": "own text", "title": "question 1", "group": two},
        {"id": "c", "text": "free text", "title": "free", "group": three},
    ]
    sources = [Input("beir", (folder,)), Input("jsonl", (_write(tmp_path / "rows.jsonl", rows),))]
    dataset = build_from(sources, tmp_path / "dataset")
    assert dataset.qrels("train").collect()["query_id"].to_list() == ["c:q"]
    assert dataset.qrels("test").collect()["query_id"].to_list() == ["q0", "q1"]
    assert all(value == 0 for pair in dataset_stats(dataset).overlap.values() for value in pair.values())


def test_pairs_that_share_an_answer_share_a_split_whatever_their_order(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = []
    for i in range(150):
        rows += [{"query": f"{way} {i}", "pos": [f"answer {i}"]} for way in ("how", "why", "when")]
    one = build_dataset("jsonl", [_write(tmp_path / "one.jsonl", rows)], tmp_path / "one")
    random.Random(0).shuffle(rows)
    two = build_dataset("jsonl", [_write(tmp_path / "two.jsonl", rows)], tmp_path / "two")
    for split in SPLITS:
        documents = one.split_documents(split).collect()
        assert one.split_queries(split).collect().height == 3 * documents.height
        assert set(documents["id"]) == set(two.split_documents(split).collect()["id"])
    assert dataset_stats(one).shared_groups == 0


def _debian(folder: Path, records: Sequence[tuple[str, str, str | None]]) -> Path:
    """Lists of (md5 digit, Korean body, source package or None for one of another architecture)."""
    folder.mkdir()
    ko = [apt_world.translation("ko", d * 32, f"p{d}", f"도구 {d}", body) for d, body, _ in records]
    en = [apt_world.translation("en", d * 32, f"p{d}", f"tool {d}", f"{apt_world.LONG_EN} {d}") for d, _, _ in records]
    packages = [apt_world.package(f"p{d}", d * 32, source) for d, _, source in records if source]
    for name, stanzas in ((apt_world.KO, ko), (apt_world.EN, en), (apt_world.PACKAGES, packages)):
        (folder / name).write_text("".join(stanzas), encoding="utf-8")
    return folder


def test_a_sibling_of_a_copy_leaves_training_too(tmp_path: Path) -> None:
    (held,), (tied, free) = _groups("test", 1), _groups("train", 2)
    body = apt_world.LONG_KO
    records = [("1", body, held), ("2", body, tied), ("3", f"{body} 셋", tied), ("4", f"{body} 넷", free)]
    dataset = build_dataset("debian", [_debian(tmp_path / "lists", records)], tmp_path / "dataset")
    assert {q[4] for q in dataset.qrels("train").collect()["query_id"]} == {"4"}
    assert {q[4] for q in dataset.qrels("test").collect()["query_id"]} == {"1"}


def test_a_record_of_unknown_source_trains_unless_its_text_is_held_back(tmp_path: Path) -> None:
    (held,), (free,) = _groups("test", 1), _groups("train", 1)
    body = apt_world.LONG_KO
    records = [("1", body, held), ("2", body, None), ("3", f"{body} 셋", None), ("4", f"{body} 넷", free)]
    dataset = build_dataset("debian", [_debian(tmp_path / "lists", records)], tmp_path / "dataset")
    assert {q[4] for q in dataset.qrels("train").collect()["query_id"]} == {"3", "4"}
    judged = dataset.qrels("test").collect()["document_id"].to_list()
    assert sorted(set(judged)) == [f"deb:{'1' * 32}:en", f"deb:{'1' * 32}:ko", f"deb:{'2' * 32}:ko"]
