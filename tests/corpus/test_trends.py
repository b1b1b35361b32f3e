"""Trends planted in a dated corpus are found, chance is not, and the boosts reach idf.json."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import world
from click.testing import CliRunner

from osparse.cli.main import cli
from osparse.contracts.dataset import Dataset, Source, save_dataset
from osparse.corpus import TrendRules, compute_idf, find_trends
from osparse.corpus.terms.trends import Trend, compare, count_terms, piece_boosts, terms_of
from osparse.corpus.text.analysis import words
from osparse.errors import ConfigError, DatasetError, InputError
from osparse.trainer.config.inputs import idf_provenance

TODAY = datetime.date(2026, 11, 1)
NOISE = [f"word{n}" for n in range(60)]


def corpus(path: Path, *, planted: bool, seed: int = 0) -> Dataset:
    """600 documents of a year; in the last 30 days "pear tree" comes in 40 % of them, "전차는" dies out."""
    generator = np.random.default_rng(seed)
    rows = []
    for number in range(600):
        age = int(generator.integers(0, 360))
        text = " ".join(generator.choice(NOISE, 12))
        if planted and age < 30 and generator.random() < 0.4:
            text += " pear tree"
        if planted and age >= 30 and generator.random() < 0.3:
            text += " 전차는"
        rows.append((f"d{number}", "", text, "en", TODAY - datetime.timedelta(days=age), "world", f"d{number}"))
    names = ["id", "title", "text", "lang", "date", "source", "group"]
    return save_dataset(
        path, documents=pl.DataFrame(rows, schema=names, orient="row"),
        queries=pl.DataFrame([("q", "word1", "en", None)], schema=["id", "text", "lang", "date"], orient="row"),
        qrels={"train": pl.DataFrame([("q", "d0", 1.0, "annotated")], schema=["query_id", "document_id", "score", "origin"], orient="row")},
        sources=[Source("world", "Apache-2.0", 600, 600, {}, "0" * 64)], split_rule="tests", seed=0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def dated(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return corpus(tmp_path_factory.mktemp("trends") / "dataset", planted=True)


def test_planted_trends_are_found_and_named_whole(dated: Dataset, tmp_path: Path) -> None:
    report = find_trends(dated, tmp_path / "trends.json", TrendRules(as_of=TODAY))
    assert {"pear", "tree", "pear tree"} <= {trend.term for trend in report.rising}
    assert "전차" in {trend.term for trend in report.falling}
    texts = dict(dated.documents.select("text", "date").collect().iter_rows())
    recent = [text for text, day in texts.items() if (TODAY - day).days < 30]
    pear = next(trend for trend in report.rising if trend.term == "pear tree")
    assert pear.recent == sum("pear tree" in text for text in recent) and pear.before == 0
    assert report.recent_documents == len(recent)
    assert json.loads((tmp_path / "trends.json").read_text())["rising"][0]["term"] == report.rising[0].term


def test_chance_is_held_to_the_false_discovery_rate(tmp_path: Path) -> None:
    """Under the null hypothesis a report should be empty but for a share fdr of the corpora."""
    reported = [
        len(r.rising) + len(r.falling)
        for seed in range(12)
        for r in [
            find_trends(
                corpus(tmp_path / f"d{seed}", planted=False, seed=seed),
                tmp_path / f"{seed}.json",
                TrendRules(as_of=TODAY),
            )
        ]
    ]
    assert sum(n > 0 for n in reported) <= 2


def test_q_values_are_benjamini_and_hochbergs() -> None:
    from scipy.stats import binomtest

    assert [trend.log_odds for trend in compare(["a"], {"a": (10, 30)}, 10, 30)] == [0.0]  # in every document
    counts = {"a": (9, 1), "b": (5, 5), "c": (1, 19), "d": (4, 3)}
    found = compare(list(counts), counts, 100, 300)
    p = [
        min(1.0, 2 * min(binomtest(a, a + b, 0.25, side).pvalue for side in ("less", "greater")))
        for a, b in counts.values()
    ]
    order = np.argsort(p)
    q, smallest = [0.0] * 4, 1.0
    for rank in range(4, 0, -1):
        smallest = min(smallest, p[order[rank - 1]] * 4 / rank)
        q[order[rank - 1]] = smallest
    assert [trend.q for trend in found] == pytest.approx(q)
    assert [np.sign(trend.log_odds) for trend in found] == [1, 1, -1, 1]


def test_korean_words_lose_their_particle() -> None:
    assert words("구름이 차가운 공기를 만나면") == ["구름", "차가운", "공기", "만나면"]
    assert words("나는 도로로") == ["나는", "도로"]  # of two syllables none is cut off


@pytest.mark.parametrize("hashes", [1, 8, 1 << 26])
@pytest.mark.parametrize("at_least", [2, 5, 300])
def test_terms_are_counted_exactly_however_hashes_collide(
    hashes: int, at_least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("osparse.corpus.terms.trends.HASHES", hashes)
    generator = np.random.default_rng(0)
    texts = [" ".join(generator.choice(["the", *NOISE[:20]], 4, p=[0.4, *[0.03] * 20])) for _ in range(700)]
    recent = generator.random(700) < 0.3
    naive: dict[str, list[int]] = {}
    for text, now in zip(texts, recent.tolist(), strict=True):
        for term in terms_of(text):
            naive.setdefault(term, [0, 0])[0 if now else 1] += 1
    wanted = {term: tuple(pair) for term, pair in naive.items() if sum(pair) >= at_least}
    assert count_terms(lambda: iter(texts), recent, at_least) == wanted
    assert wanted


def test_a_shared_token_is_boosted_by_the_terms_share_of_it(tmp_path: Path) -> None:
    tokenizer = world.make_tokenizer(tmp_path / "tokenizer" / "tokenizer.json")
    from osparse.formula.lexicon import load_tokenizer

    loaded = load_tokenizer(tokenizer)
    word = next(
        t
        for t in ("autumn", "picked", "spring", "flowers", "white")
        if len(loaded.encode(t, add_special_tokens=False).ids) == 1
    )
    (token,) = loaded.encode(word, add_special_tokens=False).ids
    trend = Trend(word, 5, 0, 0.5, 0.0, np.log(9.0), 0.001)
    assert piece_boosts([trend], tokenizer, [word] * 5, 2.0) == {token: 2.0}
    assert piece_boosts([trend], tokenizer, [word] * 20, 2.0) == {token: 1.25}
    assert piece_boosts([trend], tokenizer, [word] * 5, 8.0) == {token: 3.0}


def test_boosts_reach_the_table_and_no_other_tokenizers(dated: Dataset, tmp_path: Path) -> None:
    tokenizer = world.make_tokenizer(tmp_path / "tokenizer" / "tokenizer.json")
    report = find_trends(dated, tmp_path / "trends.json", TrendRules(as_of=TODAY), tokenizer=tokenizer)
    assert report.boosts and max(report.boosts.values()) <= 2.0
    plain = compute_idf(dated, tokenizer, tmp_path / "idf.json")
    risen = compute_idf(dated, tokenizer, tmp_path / "risen.json", trends=tmp_path / "trends.json")
    for token, ratio in enumerate(risen.idf / plain.idf):
        assert ratio == pytest.approx(report.boosts.get(token, 1.0), rel=1e-5)
    changed = json.loads((tmp_path / "trends.json").read_text())
    (tmp_path / "other.json").write_text(json.dumps({**changed, "tokenizer_sha256": "0"}))
    with pytest.raises(InputError, match="another tokenizer"):
        compute_idf(dated, tokenizer, tmp_path / "other-idf.json", trends=tmp_path / "other.json")
    with pytest.raises(InputError, match="not a trends report"):
        compute_idf(dated, tokenizer, tmp_path / "other-idf.json", trends=tmp_path / "idf.json")


def test_held_back_documents_are_left_out_unless_asked_for(dated: Dataset, tmp_path: Path) -> None:
    held = dated.documents.filter(pl.col("text").str.contains("pear tree")).select("id").collect()["id"].to_list()
    judged = [("h", name, 1.0, "annotated") for name in held]
    asked = pl.DataFrame([("h", "word2", "en", None)], schema=dated.queries.collect_schema(), orient="row")
    split = save_dataset(
        tmp_path / "split", documents=dated.documents, queries=pl.concat([dated.queries.collect(), asked]),
        qrels={"train": dated.qrels("train"), "test": pl.DataFrame(judged, schema=dated.qrels("train").collect_schema(), orient="row")},
        sources=dated.manifest.sources, split_rule="tests", seed=0,
    )  # fmt: skip
    rules = TrendRules(as_of=TODAY)
    assert "pear tree" not in {trend.term for trend in find_trends(split, tmp_path / "a.json", rules).rising}
    tokenizer = world.make_tokenizer(tmp_path / "tokenizer" / "tokenizer.json")
    every = find_trends(split, tmp_path / "b.json", rules, split="all", tokenizer=tokenizer)
    assert "pear tree" in {trend.term for trend in every.rising}
    compute_idf(split, tokenizer, tmp_path / "idf.json", trends=tmp_path / "b.json")
    with pytest.raises(ConfigError, match="follows trends of held-back documents"):
        idf_provenance(tmp_path / "idf.json", split.fingerprint)


def test_two_periods_are_needed(dated: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="both periods need some"):
        find_trends(dated, tmp_path / "trends.json", TrendRules(as_of=TODAY, window=4000))
    with pytest.raises(InputError, match="fdr within"):
        TrendRules(as_of=TODAY, fdr=0.0)


def test_the_command_reports_and_draws(dated: Dataset, tmp_path: Path) -> None:
    asked = [
        "corpus",
        "trends",
        str(dated.path),
        "--as-of",
        "2026-11-01",
        "--output",
        str(tmp_path / "t.json"),
        "--plot",
        str(tmp_path / "t.png"),
    ]
    shown = CliRunner().invoke(cli, asked)
    assert shown.exit_code == 0, shown.output
    assert "rising" in shown.output and "pear tree" in shown.output
    assert (tmp_path / "t.png").read_bytes()[:4] == b"\x89PNG"
