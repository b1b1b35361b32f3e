"""What a store takes of one dataset: filters, ranges, top k, random k, labels; as rows of the maps, cached."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from osparse.contracts.dataset import Dataset
from osparse.contracts.dataset_checks import ORIGINS
from osparse.contracts.text_map import TextMap
from osparse.errors import DatasetError
from osparse.io.files import atomic_directory, fingerprint, pretty_json
from osparse.io.tables import BATCH_ROWS

RECIPE = 1
"""Raised when the same selection would choose other rows."""
ARRAYS = ("queries", "starts", "documents", "labels", "scores")

log = logging.getLogger("osparse.corpus.pairs.selection")


@dataclass(frozen=True)
class Selection:
    """Rows of a dataset's qrels or candidates: filters first, then the ranges, then ``top_k``, then ``random_k``."""

    dataset: Dataset
    split: str = "train"
    table: Literal["qrels", "candidates"] = "qrels"
    origins: tuple[str, ...] = ()
    """Of annotated, mined, distilled; () is all."""
    scorers: tuple[str, ...] = ()
    """Of candidates; () is all."""
    where: pl.Expr | None = None
    """Over the columns of documents: only rows about documents for which it holds."""
    min_score: float | None = None
    max_score: float | None = None
    """Inclusive; a row without a score is outside every range."""
    top_k: int | None = None
    """Best scores of each query (ties by the order of the documents)."""
    random_k: int | None = None
    """Drawn of each query's rows, by ``seed``."""
    relabel: float | None = None
    """Every label; else a judgement's score, or a candidate's label."""
    queries: int | None = None
    """At most so many queries, drawn by ``seed``: a cap for a source that would outweigh the others."""
    seed: int = 0

    def problems(self, number: int) -> Iterator[str]:
        """What is wrong with the settings."""
        at = f"selections.{number}"
        if self.table not in ("qrels", "candidates"):
            yield f"{at}.table: qrels or candidates, found {self.table!r}"
        if unknown := set(self.origins) - set(ORIGINS):
            yield f"{at}.origins: of {', '.join(ORIGINS)}, found {', '.join(sorted(unknown))}"
        if self.scorers and self.table == "qrels":
            yield f"{at}.scorers: qrels have no scorer; use table='candidates'"
        for name in ("top_k", "random_k", "queries"):
            value = getattr(self, name)
            if value is not None and value < 1:
                yield f"{at}.{name}: at least 1, found {value}"
        if self.min_score is not None and self.max_score is not None and self.min_score > self.max_score:
            yield f"{at}.min_score: {self.min_score} is above max_score {self.max_score}"

    @property
    def fingerprint(self) -> str:
        """Of the dataset's content and the settings, not of its path."""
        settings = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in ("dataset", "where")}
        where = None if self.where is None else self.where.meta.serialize(format="json")
        return fingerprint([RECIPE, pl.__version__, self.dataset.fingerprint, where, settings])[:32]


@dataclass(frozen=True, eq=False)
class Rows:
    """Of one dataset: query ``queries[i]`` has the documents ``starts[i]:starts[i + 1]``, all as rows of the maps."""

    queries: NDArray[np.uint32]
    starts: NDArray[np.int64]
    documents: NDArray[np.uint32]
    labels: NDArray[np.float32]
    scores: NDArray[np.float32]


def materialise(one: Selection, queries: TextMap, documents: TextMap, cache: Path) -> Rows:
    """The selection's rows, from the cache if chosen before; raises :class:`DatasetError` if none are left."""
    folder = cache / one.fingerprint
    if not (folder / "selection.json").is_file():
        chosen = _choose(one, queries, documents)
        if not len(chosen.documents):
            raise DatasetError(f"{one.dataset.path}: the selection leaves no row of the {one.split} {one.table}")
        with atomic_directory(folder, marker="selection.json", overwrite=True) as temporary:
            for name in ARRAYS:
                np.save(temporary / f"{name}.npy", getattr(chosen, name))
            about = {"dataset": str(one.dataset.path), "queries": len(chosen.queries), "rows": len(chosen.documents)}
            (temporary / "selection.json").write_text(pretty_json(about), encoding="utf-8")
    else:
        log.debug("%s is up to date", folder)
    return Rows(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS))


def _choose(one: Selection, queries: TextMap, documents: TextMap) -> Rows:
    allowed = None if one.where is None else _allowed(one.dataset, one.where)
    parts = [_numbers(part, queries, documents, allowed) for part in _filtered(one).collect_batches(
        chunk_size=BATCH_ROWS, maintain_order=True)]  # fmt: skip
    empty: list[NDArray[Any]] = [np.zeros(0, kind) for kind in (np.uint32, np.uint32, np.float32, np.float32)]
    asked, about, labels, scores = (np.concatenate([e, *(p[i] for p in parts)]) for i, e in enumerate(empty))
    del parts
    order = np.argsort(_falling(asked, scores), kind="stable")
    if one.top_k is not None:
        order = order[_place(asked[order]) < one.top_k]
    if one.random_k is not None:
        drawn = np.lexsort((_mixed(asked[order], about[order], one.seed), asked[order]))
        order = order[np.sort(drawn[_place(asked[order][drawn]) < one.random_k])]
    if one.queries is not None:
        found = np.unique(asked[order])
        kept = found[np.argsort(_mixed(found, found, one.seed + 1), kind="stable")[: one.queries]]
        order = order[np.isin(asked[order], kept)]
    found, counts = np.unique(asked[order], return_counts=True)
    starts = np.append(0, np.cumsum(counts)).astype(np.int64)
    return Rows(found.astype(np.uint32), starts, about[order], labels[order], scores[order])


def _filtered(one: Selection) -> pl.LazyFrame:
    """Columns query_id, document_id, label, score; streamed."""
    rows = one.dataset.qrels(one.split) if one.table == "qrels" else one.dataset.candidates(one.split)
    if one.origins:
        rows = rows.filter(pl.col("origin").is_in(list(one.origins)))
    if one.scorers:
        rows = rows.filter(pl.col("scorer").is_in(list(one.scorers)))
    if one.min_score is not None:
        rows = rows.filter(pl.col("score") >= one.min_score)
    if one.max_score is not None:
        rows = rows.filter(pl.col("score") <= one.max_score)
    label = pl.lit(one.relabel) if one.relabel is not None else pl.col("score" if one.table == "qrels" else "label")
    return rows.select(
        "query_id",
        "document_id",
        label.cast(pl.Float32).fill_null(float("nan")).alias("label"),
        pl.col("score").fill_null(float("nan")),
    )


def _numbers(
    part: pl.DataFrame, queries: TextMap, documents: TextMap, allowed: NDArray[np.bool_] | None
) -> tuple[NDArray[Any], ...]:
    about = documents.index.rows(part["document_id"])
    found = (queries.index.rows(part["query_id"]), about, part["label"].to_numpy(), part["score"].to_numpy())
    return found if allowed is None else tuple(values[allowed[about]] for values in found)


def _allowed(dataset: Dataset, where: pl.Expr) -> NDArray[np.bool_]:
    """(N,) whether each document is meant; null counts as no."""
    kept = dataset.documents.select(where.fill_null(False).alias("kept")).collect(engine="streaming")["kept"]
    return kept.to_numpy()


def _falling(queries: NDArray[np.uint32], scores: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Keys that order as (query rising, score falling), a row without a score last."""
    bits = (scores + np.float32(0)).view(np.uint32)
    rising = bits ^ np.where(bits >> 31, np.uint32(0xFFFFFFFF), np.uint32(0x80000000)).astype(np.uint32)
    falling = np.where(np.isnan(scores), np.uint32(0xFFFFFFFF), ~rising)
    keys: NDArray[np.uint64] = (queries.astype(np.uint64) << np.uint64(32)) | falling
    return keys


def _place(queries: NDArray[np.uint32]) -> NDArray[np.int64]:
    """(n,) how many rows of the same query stand before; equal queries stand together."""
    first = np.append(True, queries[1:] != queries[:-1]) if len(queries) else np.zeros(0, bool)
    at = np.arange(len(queries))
    place: NDArray[np.int64] = at - np.maximum.accumulate(np.where(first, at, 0))
    return place


def _mixed(one: NDArray[np.uint32], other: NDArray[np.uint32], seed: int) -> NDArray[np.uint64]:
    """A number for each pair that looks random and is the same on every machine (splitmix64's finaliser)."""
    mixed = (one.astype(np.uint64) << np.uint64(32)) | other
    mixed = mixed + np.uint64((seed * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    found: NDArray[np.uint64] = mixed ^ (mixed >> np.uint64(31))
    return found
