"""Pairs: kinds, filters, masking, sampling, splits, and the baseline out of several sources."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sample_topics import TOPICS, topic
from source_samples import SAMPLES

from osparse.contracts.dataset import SPLITS, Dataset
from osparse.corpus import build_dataset, dataset_stats
from osparse.corpus.pairs.baseline import prepare_baseline
from osparse.corpus.pairs.pair_filters import Pair, PairFilters
from osparse.corpus.pairs.pair_shares import sampled
from osparse.corpus.pairs.pairs import PairRules, make_pairs
from osparse.corpus.pairs.title_mask import mask_title, overlap
from osparse.corpus.split.splits import split_of
from osparse.errors import DatasetError, InputError

KEEP_COPIES = PairFilters(text_characters=(10, 5000), near_duplicates=0, boilerplate=0)


@pytest.fixture(scope="module")
def wiki(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("wiki")
    sample = SAMPLES["wikipedia"]
    return build_dataset("wikipedia", sample.write(folder), folder / "dataset", options=sample.options)


def relevant(dataset: Dataset) -> dict[str, set[str]]:
    """Query text -> texts that answer it."""
    queries = dict(dataset.queries.select("id", "text").collect().iter_rows())
    texts = dict(dataset.documents.select("id", "text").collect().iter_rows())
    found: dict[str, set[str]] = {}
    for split in SPLITS:
        if dataset.manifest.counts.get(f"qrels.{split}.arrow"):
            for query, document, *_ in dataset.qrels(split).collect().iter_rows():
                found.setdefault(queries[query], set()).add(texts[document])
    return found


def test_a_title_asks_for_its_summary_and_paragraphs(wiki: Dataset, tmp_path: Path) -> None:
    rules = PairRules(kinds=("title-summary", "title-paragraph"), mask=0.0, filters=KEEP_COPIES)
    made = make_pairs([wiki], tmp_path / "pairs", rules)
    for title, texts in relevant(made).items():
        whole = wiki.documents.collect().filter(title=title)["text"][0]
        assert texts == set(whole.split("\n\n")) and len(texts) == 2
    groups = dict(made.documents.select("id", "group").collect().iter_rows())
    for split in SPLITS:
        assert {split_of(groups[d]) for d in made.qrels(split).collect()["document_id"]} == {split}
    assert all(shared == 0 for pair in dataset_stats(made).overlap.values() for shared in pair.values())
    assert make_pairs([wiki], tmp_path / "pairs", rules).fingerprint == made.fingerprint
    with pytest.raises(InputError, match="made from other inputs"):
        make_pairs([wiki], tmp_path / "pairs", PairRules(kinds=("title-summary",), mask=0.0))


def test_masking_takes_the_title_out_of_its_share(wiki: Dataset, tmp_path: Path) -> None:
    counts = {}
    for mask in (0.0, 0.5, 1.0):
        rules = PairRules(kinds=("title-summary",), mask=mask, filters=KEEP_COPIES)
        made = make_pairs([wiki], tmp_path / f"{mask}", rules)
        counts[mask] = sum(title in text for title, texts in relevant(made).items() for text in texts)
        masking = made.manifest.notes["pairs"]["masking"]
        assert masking["masked"] == 60 - counts[mask]
        assert masking["query_words_in_text_after"] <= masking["query_words_in_text_before"] == 1.0
    assert counts[0.0] == 60 and counts[1.0] == 0 and 18 <= counts[0.5] <= 42


@pytest.mark.parametrize(
    ("title", "text", "masked"),
    [
        ("기계 학습", "기계 학습은 인공지능의 분야이다.\n\n기계\n학습의 예", "은 인공지능의 분야이다.\n\n의 예"),
        ("bread", "Bread is baked. Breadth stays; gingerbread too.", "is baked. Breadth stays; gingerbread too."),
        ("C++", "C++ is a language", "is a language"),
        ("없는 말", "그대로 둔다", "그대로 둔다"),
    ],
)
def test_mask_title(title: str, text: str, masked: str) -> None:
    assert mask_title(title, text) == masked


def test_overlap_counts_words_with_particles() -> None:
    assert overlap("기계 학습", "학습은 배움이다") == 0.5
    assert overlap("...", "x") == 0.0


def jsonl(folder: Path, rows: list[dict[str, Any]]) -> Dataset:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return build_dataset("jsonl", [path], folder / "dataset")


def test_each_filter_takes_its_own_and_says_so(tmp_path: Path) -> None:
    good = [{"query": topic(i, "ko")[0], "pos": [topic(i, "ko")[1]], "lang": "ko"} for i in range(6)]
    template = "이 글은 내용이 아직 없는 자동으로 만들어진 틀이며 누구나 고쳐 쓸 수 있으나 지금은 아무것도 담고 있지 않은 빈 문서이다"
    bad = [
        {
            "query": "x" * 300,
            "pos": ["긴 질의를 가진 글은 남기지 않는다. 이 글도 마찬가지로 남지 않는다."],
            "lang": "ko",
        },
        {"query": "짧은 글", "pos": ["너무 짧다"], "lang": "ko"},
        {"query": "영어", "pos": ["This text says that it is Korean, and it is not at all."], "lang": "ko"},
        {"query": "copy", "pos": [topic(0, "ko")[1].replace(" ", "  ")], "lang": "ko"},
        *({"query": f"틀 {i}", "pos": [f"{template} {TOPICS[i][1] * 9}"], "lang": "ko"} for i in range(4)),
    ]
    made = make_pairs([jsonl(tmp_path, good + bad)], tmp_path / "pairs", PairRules(filters=PairFilters(boilerplate=4)))
    stages = made.manifest.notes["pairs"]
    assert [(name, found["pairs"]) for name, found in stages.items() if name != "masking"] == [
        ("made", 14), ("length", 12), ("language", 11), ("boilerplate", 7), ("near duplicates", 6), ("kept", 6),
    ]  # fmt: skip
    assert made.manifest.sources[-1].dropped == {"length": 2, "language": 1, "boilerplate": 4, "near duplicates": 1}
    assert set(relevant(made)) == {row["query"] for row in good}


def test_published_splits_stay(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    beir = build_dataset("beir", SAMPLES["beir"].write(folder), tmp_path / "beir")
    wanted = {split: set(beir.split_queries(split).collect()["text"]) for split in ("train", "test")}
    made = make_pairs([beir], tmp_path / "pairs", PairRules(filters=KEEP_COPIES))
    assert {split: set(made.split_queries(split).collect()["text"]) for split in ("train", "test")} == wanted
    rows = jsonl(tmp_path, [{"query": f"question {i}", "pos": [f"the answer to question {i}"]} for i in range(60)])
    both = make_pairs([beir, rows], tmp_path / "both", PairRules(filters=KEEP_COPIES))
    assert both.manifest.split_rule.endswith("; published splits are kept")
    again = make_pairs([both], tmp_path / "again", PairRules(filters=KEEP_COPIES))
    for split in ("train", "test"):
        found = set(again.split_queries(split).collect()["text"])
        assert wanted[split] < found and found == set(both.split_queries(split).collect()["text"])


def test_nothing_left_is_an_error_and_settings_are_checked(wiki: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no pair is left of 60 \(60 by length\); nothing was written"):
        make_pairs([wiki], tmp_path / "pairs", PairRules(filters=PairFilters(text_characters=(4000, 5000))))
    with pytest.raises(
        InputError,
        match=r"unknown kind 'x'.*mask 2 outside \[0, 1\]; limit 0 below 1; .*query_characters: the fewest must not exceed the most, got 9 and 1",
    ):
        make_pairs([wiki], tmp_path / "pairs", PairRules(("x",), 1, 2, 0, PairFilters(query_characters=(9, 1))))
    assert list(tmp_path.iterdir()) == []


def test_a_sample_is_shared_equally_by_whole_groups() -> None:
    pairs = [
        Pair("query-document", f"q{i}", "ko", f"t{i}", "ko", f"g{i // 3}", source, None, None)
        for source, count in (("large", 600), ("small", 30))
        for i in range(count)
    ]
    chosen = list(sampled(iter(pairs), 100, seed=0))
    counts = Counter(pair.source for pair in chosen)
    assert counts["small"] == 30 and 67 <= counts["large"] <= 70
    assert set(Counter((pair.source, pair.group) for pair in chosen).values()) == {3}
    assert {p.query for p in sampled(iter(pairs[::-1]), 100, 0)} == {p.query for p in chosen}
    assert {p.query for p in sampled(iter(pairs), 100, 1)} != {p.query for p in chosen}


def test_a_baseline_of_whatever_is_present(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no apt
    sources = tmp_path / "sources"
    for name in ("squad", "beir", "gooaq"):
        (sources / name).mkdir(parents=True)
        SAMPLES[name].write(sources / name)
    made = prepare_baseline(sources, tmp_path / "out" / "dataset", pairs=150)
    shares = Counter(made.documents.collect()["source"])
    assert set(shares) == {"squad", "beir", "gooaq"}
    pairs = sum(rows for name, rows in made.manifest.counts.items() if name.startswith("qrels"))
    assert 20 <= pairs <= 150
    assert prepare_baseline(sources, tmp_path / "out" / "dataset", pairs=150).fingerprint == made.fingerprint
    (sources / "wiki").mkdir()
    with pytest.raises(InputError, match="no reader has this name; known: debian, wikipedia"):
        prepare_baseline(sources, tmp_path / "out" / "dataset")
    with pytest.raises(InputError, match="holds no source and this machine has no apt-get"):
        prepare_baseline(tmp_path / "nowhere", tmp_path / "other")


def test_plots_are_drawn_of_what_is_there(wiki: Dataset, tmp_path: Path) -> None:
    from osparse.corpus.builder.plots import draw

    made = make_pairs([wiki], tmp_path / "pairs", PairRules(filters=KEEP_COPIES))
    paths = draw(made, tmp_path / "plots")
    assert [path.name for path in paths] == ["lengths.png", "languages.png", "dates.png", "filters.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
