"""The sample corpus that ships with the repository: whole, bilingual, and enough for every split."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from osparse.algorithms.language import guess_language
from osparse.corpus import build_dataset, compute_idf, dataset_stats, train_tokenizer
from osparse.io.files import read_jsonl

SAMPLE = Path(__file__).parents[2] / "examples" / "sample_corpus.jsonl"


def test_every_group_has_a_korean_and_an_english_text() -> None:
    rows = [row for _, row in read_jsonl(SAMPLE)]
    assert Counter(Counter(row["group"] for row in rows).values()) == {2: 120}
    for row in rows:
        assert guess_language(row["text"]) == guess_language(row["title"]) == row["lang"]
        assert row["id"] == f"{row['group']}:{row['lang']}"
        assert len(row["text"]) >= 40
    for field in ("text", "title"):
        assert len({row[field] for row in rows}) == 240


def test_it_goes_the_whole_road_of_the_room(tmp_path: Path) -> None:
    dataset = build_dataset("jsonl", [SAMPLE], tmp_path / "dataset")
    stats = dataset_stats(dataset)
    rows = {split: part["queries"]["ko"]["rows"] for split, part in stats.splits.items()}
    assert rows == {"train": 82, "validation": 14, "test": 24}
    assert all(value == 0 for pair in stats.overlap.values() for value in pair.values())
    report = train_tokenizer(dataset, tmp_path / "tokenizer", vocab_size=2000)
    assert report.unknown_share["test/en"] == 0
    assert report.unknown_share["test/ko"] < 0.1
    assert len(compute_idf(dataset, report.path, tmp_path / "idf.json").tokens) == report.vocabulary
