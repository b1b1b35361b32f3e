"""The pictures of ``osparse corpus stats --plots``: texts, splits, dates, filters, negatives and scores, as PNG."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from osparse.charts.fonts import drawable
from osparse.charts.style import Theme, colour, decade_ticks, new_figure, plain_numbers, save, say, theme
from osparse.contracts.dataset import ALL, SPLITS, Dataset
from osparse.corpus.builder.candidate_stats import negatives_per_query, scores
from osparse.errors import InputError
from osparse.plugins.extras import require

BINS = 40
"""Of a histogram."""
SCORERS = 6
"""Drawn at most, those with the most scores."""
Plot = tuple[str, Any, list[str]]
"""Name of the file, figure, labels."""


def draw(dataset: Dataset, folder: Path, *, look: str = "light") -> list[Path]:
    """Write the pictures that the dataset has something for; returns their paths. Counts are made by Polars, streamed.

    Args:
        look: "light" or "dark".

    Raises:
        MissingExtraError: matplotlib is not installed. InputError: ``folder`` is a file, or another ``look``.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; plots are written into a folder: choose another `plots`")
    paths = []
    with theme(look) as colours:
        folder.mkdir(parents=True, exist_ok=True)
        for name, figure, labels in _plots(dataset, colours):
            paths.append(folder / f"{name}.png")
            save(figure, paths[-1], labels)
    return paths


def _plots(dataset: Dataset, look: Theme) -> Iterator[Plot]:
    yield _lengths(dataset, look)
    yield _languages(dataset, look)
    drawn = [_dates(dataset, look), _filters(dataset, look), _negatives(dataset, look), _scores(dataset, look)]
    yield from (plot for plot in drawn if plot is not None)


def _lengths(dataset: Dataset, look: Theme) -> Plot:
    """A histogram of the length in characters for documents and queries, by language, on a logarithmic axis."""
    figure = new_figure(8, 5)
    panels = figure.subplots(2, 1, sharex=True)
    labels: list[str] = []
    for axes, (what, frame) in zip(
        panels, (("documents", dataset.documents), ("queries", dataset.queries)), strict=True
    ):
        size = pl.col("text").str.len_chars().clip(lower_bound=1).cast(pl.Float64).log10()
        counts = frame.group_by("lang", bin=(size * 10).floor().cast(pl.Int32)).len().collect(engine="streaming")
        for place, (key, part) in enumerate(sorted(counts.group_by("lang"), key=lambda group: str(group[0]))):
            lang = str(key[0]) or "no language"
            labels.append(lang)
            _histogram(axes, part.sort("bin"), f"{lang}: {part['len'].sum():,}", colour(look, place))
        axes.set(ylabel="share of texts, %", title=f"Length of {what}")
        axes.set_xscale("log")
        if counts.is_empty():
            say(axes, f"the dataset has no {what}", look)
        else:
            axes.legend(title=what, fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
        axes.grid(True, axis="y")
        plain_numbers(axes.yaxis)
    panels[1].set_xlabel("characters, logarithmic scale")
    decade_ticks(panels[1].xaxis)
    return "lengths", figure, labels


def _histogram(axes: Any, counts: pl.DataFrame, label: str, fill: str) -> None:
    """Filled steps over tenths of a decade; bins without a text are 0."""
    first, last = int(counts["bin"].min()), int(counts["bin"].max())  # type: ignore[arg-type]  # a column of integers
    shares = np.zeros(last - first + 1)
    shares[counts["bin"].to_numpy() - first] = counts["len"].to_numpy() / counts["len"].sum() * 100
    edges = 10 ** (np.arange(first, last + 2) / 10)
    axes.stairs(shares, edges, fill=True, alpha=0.25, color=fill)
    axes.stairs(shares, edges, color=fill, linewidth=1.5, label=drawable(label))


def _languages(dataset: Dataset, look: Theme) -> Plot:
    figure = new_figure(8, 1.3 + 0.7 * max(1, len(dataset.splits)))
    axes = figure.subplots()
    rows = {
        split: dict(dataset.split_documents(split).group_by("lang").len().collect(engine="streaming").iter_rows())
        for split in dataset.splits or (ALL,)
    }
    bottom = dict.fromkeys(rows, 0)
    languages = sorted({lang for counts in rows.values() for lang in counts})
    for place, lang in enumerate(languages):
        values = [counts.get(lang, 0) for counts in rows.values()]
        shown = drawable(lang or "no language")
        axes.barh(list(rows), values, left=list(bottom.values()), label=shown, color=colour(look, place), height=0.6)
        bottom = {split: bottom[split] + value for split, value in zip(rows, values, strict=True)}
    for split, total in bottom.items():
        axes.text(total, split, f" {total:,}", va="center")
    axes.invert_yaxis()
    axes.set(title="Documents by split and language", xlabel="documents")
    axes.margins(x=0.12)
    axes.grid(True, axis="x")
    plain_numbers(axes.xaxis)
    if languages:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return "languages", figure, languages


def _dates(dataset: Dataset, look: Theme) -> Plot | None:
    """Documents by month, or by year where there are more than ten of them; few enough ticks to read."""
    dated = dataset.documents.filter(pl.col("date").is_not_null())
    span = dated.select(first=pl.col("date").min(), last=pl.col("date").max()).collect().row(0, named=True)
    if span["first"] is None:
        return None
    yearly = span["last"].year - span["first"].year > 10
    every, width = ("1y", 300) if yearly else ("1mo", 25)
    counts = dated.group_by(date=pl.col("date").dt.truncate(every)).len().collect(engine="streaming").sort("date")
    dates = require("matplotlib.dates", "corpus")
    figure = new_figure(8, 4)
    axes = figure.subplots()
    axes.bar(counts["date"].to_list(), counts["len"].to_list(), width=width, color=colour(look, 0))
    locator = dates.AutoDateLocator(minticks=4, maxticks=8)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))
    axes.set(title=f"Dated documents by {'year' if yearly else 'month'}", ylabel="documents")
    axes.grid(True, axis="y")
    plain_numbers(axes.yaxis)
    if len(counts) == 1:
        axes.set_xlim(counts["date"][0].replace(month=1, day=1), counts["date"][0].replace(month=12, day=31))
    return "dates", figure, []


def _filters(dataset: Dataset, look: Theme) -> Plot | None:
    stages = {k: v for k, v in dataset.manifest.notes.get("pairs", {}).items() if k != "masking"}
    if not stages:
        return None
    figure = new_figure(8, 1.5 + 0.4 * len(stages))
    axes = figure.subplots()
    values = [int(stage["pairs"]) for stage in stages.values()]
    axes.barh([drawable(name.replace("_", " ")) for name in stages], values, color=colour(look, 0), height=0.6)
    for place, value in enumerate(values):
        axes.text(value, place, f" {value:,}", va="center")
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set(title="Pairs after each filter", xlabel="pairs")
    plain_numbers(axes.xaxis)
    return "filters", figure, list(stages)


def _negatives(dataset: Dataset, look: Theme) -> Plot | None:
    """How many negatives the queries of each split have."""
    splits = [split for split in SPLITS if dataset.has_candidates(split)]
    if not splits:
        return None
    figure = new_figure(8, 4)
    axes = figure.subplots()
    for place, split in enumerate(splits):
        counts = negatives_per_query(dataset, split)["negatives"].to_numpy()
        step = max(1, -(-(int(counts.max(initial=0)) + 1) // BINS))
        edges = np.arange(0, int(counts.max(initial=0)) + step + 1, step) - 0.5
        heights, edges = np.histogram(counts, edges)
        heights = heights / len(counts) * 100
        axes.stairs(heights, edges, fill=True, alpha=0.3, color=colour(look, place))
        label = f"{split}: {len(counts):,} queries, {int((counts == 0).sum()):,} without"
        axes.stairs(heights, edges, color=colour(look, place), linewidth=1.5, label=label)
    axes.set(title="Negatives of a query", xlabel="negatives", ylabel="queries of the split, %")
    axes.legend(fontsize="small")
    axes.grid(True, axis="y")
    axes.xaxis.get_major_locator().set_params(integer=True)
    plain_numbers(axes.xaxis)
    plain_numbers(axes.yaxis)
    return "negatives", figure, []


def _scores(dataset: Dataset, look: Theme) -> Plot | None:
    """Histograms of each scorer's scores of relevant documents and of the others: a good teacher keeps them apart."""
    frames = [scores(dataset, split) for split in SPLITS if dataset.has_candidates(split)]
    frame = pl.concat(frames) if frames else pl.DataFrame()
    if frame.is_empty():
        return None
    names = frame.group_by("scorer").len().sort("len", "scorer", descending=[True, False])["scorer"][:SCORERS].to_list()
    figure = new_figure(8, 1.0 + 2.2 * len(names))
    panels = np.atleast_1d(figure.subplots(len(names), 1))
    for axes, name in zip(panels, names, strict=True):
        mine = frame.filter(scorer=name)
        values = mine["score"].to_numpy().astype(np.float64)
        low, high = np.quantile(values, [0.001, 0.999])  # a few outliers do not flatten the rest
        edges = np.linspace(low, high, BINS + 1) if high > low else np.array([low - 0.5, low + 0.5])
        for place, (what, positive) in enumerate((("relevant", True), ("not judged relevant", False))):
            part = mine.filter(positive=positive)["score"].to_numpy().clip(low, high)
            if len(part):
                heights = np.histogram(part, edges)[0] / len(part) * 100
                axes.stairs(heights, edges, fill=True, alpha=0.3, color=colour(look, place))
                axes.stairs(heights, edges, color=colour(look, place), label=f"{what}: {len(part):,}", linewidth=1.5)
        axes.set(title=f"Scores by {drawable(name)}", ylabel="share, %")
        axes.legend(fontsize="small")
        plain_numbers(axes.xaxis)
        plain_numbers(axes.yaxis)
    panels[-1].set_xlabel("score")
    return "scores", figure, names
