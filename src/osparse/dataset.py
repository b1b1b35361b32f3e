"""The dataset directory: documents, queries and qrels as memory-mapped Arrow files beside one manifest.

    manifest.json
    documents.arrow          id, title, text, lang, date, source, group
    queries.arrow            id, text, lang, date
    qrels.train.arrow        query_id, document_id, score, origin
    qrels.validation.arrow
    qrels.test.arrow

Everything works on ids; text is looked up in the memory map when it is needed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from osparse.errors import DatasetError
from osparse.files import atomic_directory, fingerprint, pretty_json, read_json, sha256_file

SCHEMA_VERSION = 1
SPLITS = ("train", "validation", "test")
ORIGINS = ("annotated", "mined", "distilled")

DOCUMENTS = {
    "id": pl.String,
    "title": pl.String,
    "text": pl.String,
    "lang": pl.String,
    "date": pl.Date,
    "source": pl.String,
    "group": pl.String,
}
QUERIES = {"id": pl.String, "text": pl.String, "lang": pl.String, "date": pl.Date}
QRELS = {"query_id": pl.String, "document_id": pl.String, "score": pl.Float32, "origin": pl.String}


@dataclass(frozen=True)
class Source:
    """Where rows came from, and what became of them."""

    name: str
    licence: str
    rows_in: int
    rows_kept: int
    dropped: dict[str, int]
    """Reason -> rows; the reasons account for every row that was not kept."""
    sha256: str
    """Of the input as it was read."""


@dataclass(frozen=True)
class Manifest:
    sources: list[Source]
    split_rule: str
    """How groups were dealt to the splits, in words."""
    seed: int
    counts: dict[str, int]
    """File name -> rows."""
    sha256: dict[str, str]
    """File name -> sha256 of the Arrow file."""
    notes: dict[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA_VERSION


@dataclass(frozen=True)
class Dataset:
    """A dataset directory that was opened and found whole."""

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: Path | str) -> Dataset:
        """Open and validate; raises :class:`DatasetError` naming all that is missing or of the wrong shape."""
        path = Path(path)
        if not (path / "manifest.json").is_file():
            raise DatasetError(f"{path} is not a dataset: it has no manifest.json; make one with: osparse corpus build")
        manifest = _read_manifest(path / "manifest.json")
        problems = []
        for name, schema in {"documents": DOCUMENTS, "queries": QUERIES, **_qrels_files(manifest)}.items():
            problems += _problems_of(path / f"{name}.arrow", schema, manifest)
        if not _qrels_files(manifest):
            problems.append("  - it has no qrels: nothing says which document answers which query")
        if problems:
            raise DatasetError(
                "\n".join([f"{path} is not a whole dataset; rebuild it with: osparse corpus build", *problems])
            )
        return cls(path, manifest)

    @cached_property
    def fingerprint(self) -> str:
        """Names the content: equal rows, equal fingerprint."""
        return fingerprint(self.manifest.sha256)

    @cached_property
    def documents(self) -> pl.LazyFrame:
        """All documents, scanned lazily from the memory map; columns :data:`DOCUMENTS`."""
        return pl.scan_ipc(self.path / "documents.arrow")

    @cached_property
    def queries(self) -> pl.LazyFrame:
        """All queries of all splits; columns :data:`QUERIES`."""
        return pl.scan_ipc(self.path / "queries.arrow")

    def qrels(self, split: str) -> pl.LazyFrame:
        """Judgements of one split; columns :data:`QRELS`. Raises :class:`DatasetError` if the split is not there."""
        if not self.manifest.counts.get(f"qrels.{split}.arrow"):
            there = [s for s in SPLITS if self.manifest.counts.get(f"qrels.{s}.arrow")]
            raise DatasetError(f"{self.path} has no {split} qrels; it has: {', '.join(there) or 'none'}")
        return pl.scan_ipc(self.path / f"qrels.{split}.arrow")

    def split_documents(self, split: str) -> pl.LazyFrame:
        """The documents judged in a split: what a tokenizer or an IDF table of that split may read."""
        ids = self.qrels(split).select(pl.col("document_id").unique().alias("id"))
        return self.documents.join(ids, on="id", how="semi", maintain_order="left")

    def split_queries(self, split: str) -> pl.LazyFrame:
        ids = self.qrels(split).select(pl.col("query_id").unique().alias("id"))
        return self.queries.join(ids, on="id", how="semi", maintain_order="left")


def save_dataset(
    path: Path,
    *,
    documents: pl.DataFrame,
    queries: pl.DataFrame,
    qrels: Mapping[str, pl.DataFrame],
    sources: Iterable[Source],
    split_rule: str,
    seed: int,
    notes: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Dataset:
    """Check the tables against each other and write the directory in one step.

    Raises:
        DatasetError: duplicate ids, empty texts, a qrel that points nowhere, a source that kept no row.
    """
    sources = list(sources)
    tables = {
        "documents": documents,
        "queries": queries,
        **{f"qrels.{s}": qrels[s] for s in SPLITS if s in qrels},
    }
    schemas = {"documents": DOCUMENTS, "queries": QUERIES}
    tables = {
        name: table.select(pl.col(c).cast(t) for c, t in schemas.get(name, QRELS).items())
        for name, table in tables.items()
    }
    problems = _content_problems(tables, sources)
    if problems:
        raise DatasetError("\n".join([f"{path}: the dataset was not written", *problems]))
    with atomic_directory(path, marker="manifest.json", overwrite=overwrite) as folder:
        for name, table in tables.items():
            table.write_ipc(folder / f"{name}.arrow", compression="uncompressed")
        names = [f"{name}.arrow" for name in tables]
        manifest = Manifest(
            sources=sources,
            split_rule=split_rule,
            seed=seed,
            counts={f"{name}.arrow": table.height for name, table in tables.items()},
            sha256={name: sha256_file(folder / name) for name in names},
            notes=dict(notes or {}),
        )
        (folder / "manifest.json").write_text(pretty_json(asdict(manifest)), encoding="utf-8")
    return Dataset.open(path)


def _read_manifest(path: Path) -> Manifest:
    raw = read_json(path, DatasetError)
    if not isinstance(raw, dict) or raw.get("schema") != SCHEMA_VERSION:
        found = raw.get("schema") if isinstance(raw, dict) else type(raw).__name__
        raise DatasetError(
            f"{path}: dataset schema {found} found, {SCHEMA_VERSION} wanted; rebuild with: osparse corpus build"
        )
    try:
        return Manifest(**{**raw, "sources": [Source(**source) for source in raw["sources"]]})
    except (KeyError, TypeError) as problem:
        raise DatasetError(f"{path} is not a dataset manifest: {problem}; rebuild with: osparse corpus build") from None


def _qrels_files(manifest: Manifest) -> dict[str, Any]:
    return {name.removesuffix(".arrow"): QRELS for name in manifest.counts if name.startswith("qrels.")}


def _problems_of(path: Path, schema: Mapping[str, Any], manifest: Manifest) -> list[str]:
    if not path.is_file():
        return [f"  - {path.name} is missing"]
    try:
        found = dict(pl.scan_ipc(path).collect_schema())
    except (pl.exceptions.PolarsError, OSError) as problem:
        return [f"  - {path.name} is not an Arrow file: {problem}"]
    if found != dict(schema):
        return [f"  - {path.name} has columns {json.dumps({k: str(v) for k, v in found.items()})}"]
    rows = pl.scan_ipc(path).select(pl.len()).collect().item()
    if rows != manifest.counts.get(path.name):
        return [f"  - {path.name} has {rows} rows, the manifest says {manifest.counts.get(path.name)}"]
    if sha256_file(path) != manifest.sha256.get(path.name):
        return [f"  - {path.name} was changed since the dataset was made: its sha256 is not the manifest's"]
    return []


def _content_problems(tables: Mapping[str, pl.DataFrame], sources: Iterable[Source]) -> list[str]:
    problems = []
    for source in sources:
        if source.rows_kept == 0:
            why = ", ".join(f"{n} {reason}" for reason, n in source.dropped.items()) or "it was empty"
            problems.append(f"  - source {source.name} kept 0 of {source.rows_in} rows ({why})")
        if source.rows_in != source.rows_kept + sum(source.dropped.values()):
            problems.append(f"  - source {source.name}: rows kept and dropped do not add up to {source.rows_in}")
    for name in ("documents", "queries"):
        ids = tables[name]["id"]
        if ids.null_count() or ids.n_unique() != ids.len():
            twice = tables[name].filter(pl.col("id").is_duplicated())["id"].head(3).to_list()
            problems.append(f"  - {name}: ids are not unique or missing, for example {twice}")
        blank = tables[name].filter(pl.col("text").fill_null("").str.strip_chars() == "")
        if blank.height:
            problems.append(f"  - {name}: {blank.height} without text, for example {blank['id'].head(3).to_list()}")
    for name, table in tables.items():
        if not name.startswith("qrels."):
            continue
        for column, target in (("query_id", "queries"), ("document_id", "documents")):
            lost = table.join(tables[target], left_on=column, right_on="id", how="anti")
            if lost.height:
                problems.append(
                    f"  - {name}: {lost.height} rows name unknown {target}, for example {lost[column][0]!r}"
                )
        if not table["score"].is_finite().all():
            problems.append(f"  - {name}: every score must be a finite number (of 32 bits)")
        if not table["origin"].is_in(list(ORIGINS)).all():
            problems.append(f"  - {name}: origin must be one of {', '.join(ORIGINS)}")
        if table.select("query_id", "document_id").is_duplicated().any():
            problems.append(f"  - {name}: the same query and document are judged twice")
    if not any(name.startswith("qrels.") and table.height for name, table in tables.items()):
        problems.append("  - there are no qrels: nothing says which document answers which query")
    return problems
