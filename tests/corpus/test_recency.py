"""Temporal IDF: the sign, monotonicity, limits, and that it is the stable weight times the boost."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import world
from candidates_world import remake_documents
from click.testing import CliRunner

from osparse.cli.main import cli
from osparse.contracts.dataset import Dataset
from osparse.corpus import Recency, compute_idf, diff_idf
from osparse.errors import InputError, ModelError

TODAY = datetime.date(2026, 11, 1)


def days_ago(days: int) -> datetime.date:
    return TODAY - datetime.timedelta(days=days)


def boost_of(ages: list[int], held: list[bool], **changes: float) -> float:
    """Of one token that the documents marked in ``held`` hold."""
    recency = Recency(**{"half_life": 30.0, "as_of": TODAY, "limit": 8.0, **changes})  # type: ignore[arg-type]
    weights = recency.weights([days_ago(age) for age in ages])
    df, recent = np.array([sum(held)]), np.array([weights[held].sum()])
    return float(recency.boost(df, len(ages), recent, float(weights.sum()))[0])


AGES = list(range(0, 365))


def test_a_token_of_the_last_fortnight_gains_and_a_dead_one_loses() -> None:
    assert boost_of(AGES, [age < 14 for age in AGES]) > 2
    assert boost_of(AGES, [age > 60 for age in AGES]) < 1
    assert boost_of(AGES, [age % 7 == 0 for age in AGES]) == pytest.approx(1, abs=0.05)


def test_moving_an_occurrence_nearer_never_lowers_the_boost() -> None:
    values = [boost_of(AGES, [age in (place, 300) for age in AGES], limit=64.0) for place in range(299, -1, -10)]
    assert all(b >= a for a, b in zip(values, values[1:], strict=False)) and values[-1] > values[0]


def test_the_whole_weight_rises_where_decayed_counting_would_lower_it() -> None:
    """The mistake this replaces: an IDF over decayed documents falls for what is frequent lately."""
    held = [age < 14 and age % 2 == 0 for age in AGES]
    df, n = sum(held), len(AGES)
    idf = np.log1p((n - df + 0.5) / (df + 0.5))
    fading = Recency(half_life=13.5, as_of=TODAY).weights([days_ago(age) for age in AGES])
    mass, part = fading.sum(), fading[held].sum()
    assert np.log((mass + 1) / (part + 1)) + 1 < np.log((n + 1) / (df + 1)) + 1
    assert idf * boost_of(AGES, held) > idf


def test_limits_prior_gamma() -> None:
    held = [age < 3 for age in AGES]
    assert boost_of(AGES, held, limit=2.0) == 2.0
    assert boost_of(AGES, held, gamma=0.0) == 1.0
    assert boost_of(AGES, held, prior=1e9) == pytest.approx(1, abs=1e-6)
    assert boost_of([400], [True]) == pytest.approx(1)


def test_no_date_and_the_future_do_not_count() -> None:
    weights = Recency(half_life=10.0, as_of=TODAY).weights([TODAY, days_ago(10), days_ago(-1), None])
    assert weights.tolist() == [1.0, 0.5, 0.0, 0.0]


def test_values_out_of_range_are_named_together() -> None:
    with pytest.raises(InputError, match="half_life.*limit"):
        Recency(half_life=0.0, as_of=TODAY, limit=0.5)


@pytest.fixture(scope="module")
def dated(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Pears are of today, everything else is a year old."""
    recent = pl.when(pl.col("group") == "pear").then(pl.lit(TODAY)).otherwise(pl.lit(days_ago(365))).alias("date")
    return remake_documents(dataset, tmp_path_factory.mktemp("dated") / "dataset", recent)


def test_the_table_is_the_plain_one_times_the_boost(dated: Dataset, tmp_path: Path) -> None:
    tokenizer = world.make_tokenizer(tmp_path / "tokenizer" / "tokenizer.json")
    plain = compute_idf(dated, tokenizer, tmp_path / "idf.json")
    recency = Recency(half_life=30.0, as_of=TODAY)
    lately = compute_idf(dated, tokenizer, tmp_path / "now.json", recency=recency)
    ratio = dict(zip(plain.tokens, lately.idf / plain.idf, strict=True))
    mine, *others = [record[4].lower() for record in world.RECORDS]
    word = next(w for w in mine.split() if w in ratio and not any(w in other.split() for other in others))
    assert ratio[word] == pytest.approx(np.sqrt((1 + 10 * 0.1) / (2 + 10) / 0.1), rel=1e-3)
    assert min(ratio.values()) >= 0.5 - 1e-6 and max(ratio.values()) <= 2 + 1e-6
    meta = json.loads((tmp_path / "now.meta.json").read_text())
    assert meta["recency"]["as_of"] == "2026-11-01" and meta["dated_documents"] == 10
    assert meta["version"] == lately.version != plain.version
    with pytest.raises(InputError, match="made from other inputs"):
        compute_idf(dated, tokenizer, tmp_path / "idf.json", recency=recency)


def test_undated_documents_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    tokenizer = world.make_tokenizer(tmp_path / "tokenizer" / "tokenizer.json")
    with pytest.raises(InputError, match="train split: no document has a date"):
        compute_idf(dataset, tokenizer, tmp_path / "idf.json", recency=Recency(half_life=1.0, as_of=TODAY))


def test_diff_names_what_gained_and_lost(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"up": 1.0, "down": 4.0, "same": 2.0, "gone": 1.0}))
    (tmp_path / "b.json").write_text(json.dumps({"up": 3.0, "down": 1.0, "same": 2.0, "new": 1.0}))
    found = diff_idf(tmp_path / "a.json", tmp_path / "b.json")
    assert found.gained == [("up", 1.0, 3.0)] and found.lost == [("down", 4.0, 1.0)]
    assert (found.only_in_a, found.only_in_b, found.tokens, found.changed) == (["gone"], ["new"], 3, 2)
    assert found.rank_correlation == pytest.approx(-1)
    same = diff_idf(tmp_path / "a.json", tmp_path / "a.json")
    assert same.rank_correlation == pytest.approx(1) and not same.gained and same.mean_ratio == 1
    (tmp_path / "c.json").write_text("[]")
    with pytest.raises(ModelError):
        diff_idf(tmp_path / "a.json", tmp_path / "c.json")


def test_the_command_counts_by_default_and_compares(dated: Dataset, tmp_path: Path) -> None:
    tokenizer = world.make_tokenizer(tmp_path / "tokenizer" / "tokenizer.json")
    run = CliRunner().invoke
    asked = ["idf", str(dated.path), "--tokenizer", str(tokenizer)]
    assert run(cli, [*asked, "--output", str(tmp_path / "a.json")]).exit_code == 0
    lately = ["--half-life", "30", "--as-of", "2026-11-01", "--output", str(tmp_path / "b.json")]
    assert run(cli, [*asked, *lately]).exit_code == 0
    shown = run(cli, ["idf", "diff", str(tmp_path / "a.json"), str(tmp_path / "b.json"), "--top", "3"])
    assert shown.exit_code == 0 and "gained" in shown.output and "rank correlation" in shown.output
    half = run(cli, [*asked, "--output", str(tmp_path / "c.json"), "--half-life", "30"])
    assert isinstance(half.exception, InputError) or half.exit_code == 2
