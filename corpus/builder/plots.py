"""The pictures of ``osparse corpus stats --plots``: lengths, dates, languages and the filters of pairs, as PNG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from osparse.contracts.dataset import ALL, Dataset
from osparse.errors import InputError
from osparse.plugins.extras import require


def draw(dataset: Dataset, folder: Path) -> list[Path]:
    """Write the plots that the dataset has something for; returns their paths. Counts are made by Polars, streamed.

    Raises:
        MissingExtraError: matplotlib is not installed. InputError: ``folder`` is a file.
    """
    matplotlib = require("matplotlib", "corpus")
    matplotlib.use("Agg")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; plots are written into a folder: choose another `plots`")
    folder.mkdir(parents=True, exist_ok=True)
    drawn = [_lengths(dataset), _languages(dataset), _dates(dataset), _stages(dataset)]
    paths = []
    for name, figure in filter(None, drawn):
        paths.append(folder / f"{name}.png")
        figure.savefig(paths[-1], dpi=110, metadata={"Software": ""})
        require("matplotlib.pyplot", "corpus").close(figure)
    return paths


Plot = tuple[str, Any]


def _axes(title: str, x: str, y: str) -> tuple[Any, Any]:
    figure, axes = require("matplotlib.pyplot", "corpus").subplots(figsize=(7, 4), layout="constrained")
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    return figure, axes


def _lengths(dataset: Dataset) -> Plot:
    figure, axes = _axes("length of documents and queries", "characters (log scale)", "share of texts")
    for what, frame in (("documents", dataset.documents), ("queries", dataset.queries)):
        size = (pl.col("text").str.len_chars().cast(pl.Float64).log10() * 10).floor().cast(pl.Int32) / 10
        counts = frame.group_by("lang", size=size).len().collect(engine="streaming").sort("size")
        for (lang,), part in counts.group_by("lang", maintain_order=True):
            share = (part["len"] / part["len"].sum()).to_list()
            axes.plot((10 ** part["size"]).to_list(), share, marker=".", label=f"{what}, {lang}")
    axes.set_xscale("log")
    axes.legend()
    return "lengths", figure


def _languages(dataset: Dataset) -> Plot:
    figure, axes = _axes("documents by split and language", "", "documents")
    rows = {
        split: dict(dataset.split_documents(split).group_by("lang").len().collect(engine="streaming").iter_rows())
        for split in dataset.splits or (ALL,)
    }
    bottom = dict.fromkeys(rows, 0)
    for lang in sorted({lang for found in rows.values() for lang in found}):
        values = [found.get(lang, 0) for found in rows.values()]
        axes.bar(list(rows), values, bottom=list(bottom.values()), label=lang)
        bottom = {split: bottom[split] + value for split, value in zip(rows, values, strict=True)}
    axes.legend()
    return "languages", figure


def _dates(dataset: Dataset) -> Plot | None:
    months = dataset.documents.filter(pl.col("date").is_not_null()).group_by(pl.col("date").dt.truncate("1mo")).len()
    counts = months.collect(engine="streaming").sort("date")
    if counts.is_empty():
        return None
    figure, axes = _axes("dated documents by month", "", "documents")
    axes.bar(counts["date"].to_list(), counts["len"].to_list(), width=25)
    return "dates", figure


def _stages(dataset: Dataset) -> Plot | None:
    stages = {k: v for k, v in dataset.manifest.notes.get("pairs", {}).items() if k != "masking"}
    if not stages:
        return None
    figure, axes = _axes("pairs after each filter", "pairs", "")
    axes.barh(list(stages)[::-1], [found["pairs"] for found in stages.values()][::-1])
    return "filters", figure
