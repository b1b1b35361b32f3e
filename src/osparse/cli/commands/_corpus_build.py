"""What ``osparse corpus build`` prints: what was read, in which languages, what was left out, and what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from osparse.contracts.dataset import Dataset

SEEDS = 50
"""Seeds that are tried for one with which no split is empty."""
SMALL = 10_000
"""Groups of which that is worth it: larger datasets have groups for every split."""


def build_json(dataset: Dataset) -> dict[str, Any]:
    manifest = dataset.manifest
    optional = ("ignored_columns", "split_conflicts")
    notes: dict[str, Any] = {name: manifest.notes[name] for name in optional if name in manifest.notes}
    return {
        "path": str(dataset.path),
        "fingerprint": dataset.fingerprint,
        "counts": manifest.counts,
        "languages": {"documents": _languages(dataset.documents), "queries": _languages(dataset.queries)},
        "sources": [asdict(source) for source in manifest.sources],
        "judgements_removed": manifest.notes.get("judgements_removed", {}),
        "scores_averaged": manifest.notes.get("scores_averaged", 0),
        **notes,
        "next": next_step(dataset),
    }


def build_text(dataset: Dataset) -> str:
    manifest = dataset.manifest
    lines = [f"{dataset.path}"]
    for source in manifest.sources:
        lines.append(f"  {source.name}: {source.rows_kept:,} of {source.rows_in:,} rows kept")
        lines += [f"    dropped {rows:,}: {reason}" for reason, rows in source.dropped.items()]
    for name, columns in manifest.notes.get("ignored_columns", {}).items():
        lines.append(f"  columns of {name} that were not read: {', '.join(columns)}")
    removed = manifest.notes.get("judgements_removed", {})
    lines += [f"  judgements removed {rows:,}: {reason}" for reason, rows in removed.items()]
    if removed:
        lines.append("    (nothing that test holds back is in validation or train, nor what validation holds in train)")
    if averaged := manifest.notes.get("scores_averaged"):
        lines.append(f"  scores of one query and text by one teacher, averaged: {averaged:,}")
    conflicts = manifest.notes.get("split_conflicts", {})
    lines += [f"  split conflicts {rows:,}: {reason}" for reason, rows in conflicts.items()]
    lines += [f"  {name.removesuffix('.arrow'):<20} {rows:>9,}" for name, rows in manifest.counts.items()]
    languages = [f"{name} {_counted(_languages(table))}" for name, table in _tables(dataset).items()]
    return "\n".join([*lines, f"  languages: {'; '.join(languages)}", f"next: {next_step(dataset)}"])


def next_step(dataset: Dataset) -> str:
    """The command that fits the dataset: training, or a build that fills the splits that training needs."""
    if not dataset.splits:
        return (
            "there are no queries to train or measure with; build it from rows with a title, or of queries and answers"
        )
    if {"train", "validation"} <= {*dataset.splits}:
        return shlex.join(["osparse", "train", "quickstart", "--dataset", str(dataset.path), "--output", "MODEL"])
    if "published" in dataset.manifest.split_rule:
        return shlex.join(
            ["osparse", "evaluate", "--dataset", str(dataset.path), "--split", dataset.splits[-1], "--baseline", "bm25"]
        )
    empty = " and ".join(split for split in ("train", "validation", "test") if split not in dataset.splits)
    seed = _seed_that_fills(dataset)
    if seed is None:
        return f"no pairs are in {empty}, and training needs train and validation; give it rows of more groups"
    return f"no pairs are in {empty}, and training needs train and validation; build it with --seed {seed} --overwrite"


def _seed_that_fills(dataset: Dataset) -> int | None:
    """The smallest seed with which every split has groups; None where there is none, or the dataset is not small."""
    from osparse.corpus.split.splits import ORDER, split_of

    groups = dataset.documents.select(pl.col("group").unique()).collect()["group"].to_list()
    if len(groups) > SMALL:
        return None
    fitting = (seed for seed in range(1, SEEDS) if {split_of(group, seed) for group in groups} == {*ORDER})
    return next(fitting, None)


def _tables(dataset: Dataset) -> dict[str, pl.LazyFrame]:
    return {"documents": dataset.documents, **({"queries": dataset.queries} if dataset.splits else {})}


def _languages(table: pl.LazyFrame) -> dict[str, int]:
    """Language -> texts, the most frequent first."""
    counted = table.group_by("lang").len().collect(engine="streaming").sort("len", "lang", descending=[True, False])
    return dict(counted.iter_rows())


def _counted(languages: Mapping[str, int]) -> str:
    return ", ".join(f"{language or 'und'} {texts:,}" for language, texts in languages.items())
