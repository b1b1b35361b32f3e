"""The dataset directory: documents, queries and qrels as memory-mapped Arrow files beside one manifest.

    manifest.json
    documents.arrow          id, title, text, lang, date, source, group
    queries.arrow            id, text, lang, date
    qrels.train.arrow        query_id, document_id, score, origin
    qrels.validation.arrow
    qrels.test.arrow
    candidates.train.arrow   query_id, document_id, label, score, origin, scorer     optional, also of other splits
    seen.bin                 what the teachers that scored candidates learnt from (osparse.contracts.seen)   optional

Qrels say which documents answer a query, and by them a query belongs to a split; documents alone, without queries, are
a dataset too. Candidates are what else a ranker was
shown for it: hard negatives (label 0) and teachers' scores. Everything works on ids; text is looked up in the memory
map when it is needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from osparse.contracts.dataset_checks import NO_QRELS, content_problems, file_problems
from osparse.contracts.seen import SeenFile, SeenTexts
from osparse.errors import DatasetError
from osparse.io import html
from osparse.io.files import atomic_directory, fingerprint, pretty_json, read_json, sha256_file
from osparse.io.tables import write_table
from osparse.plugins.extras import check

SCHEMA_VERSION = 1
SPLITS = ("train", "validation", "test")
ALL = "all"
"""In place of a split: every document and query, judged or not, held back or not."""

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
CANDIDATES = {
    "query_id": pl.String,
    "document_id": pl.String,
    "label": pl.Float32,
    "score": pl.Float32,
    "origin": pl.String,
    "scorer": pl.String,
}
"""One row per query, document, origin and scorer.

``label``: 0 or less is a negative, above 0 relevant, null unknown.
``score``: what ``scorer`` gave, null where that is "".
``origin``: annotated (the source lists it), mined (a retriever found it; the score is the retriever's), distilled (the
score is a teacher's; several teachers are several rows).
"""


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
        for name, schema in _schemas(manifest.counts).items():
            file = path / f"{name}.arrow"
            problems += file_problems(file, schema, manifest.counts.get(file.name), manifest.sha256.get(file.name))
        if manifest.counts.get("queries.arrow") and not any(name.startswith("qrels.") for name in manifest.counts):
            problems.append(NO_QRELS)
        if problems:
            raise DatasetError(
                "\n".join([f"{path} is not a whole dataset; rebuild it with: osparse corpus build", *problems])
            )
        return cls(path, manifest)

    def _repr_html_(self) -> str:
        """What a notebook shows: the rows of each file, and what was kept of each source."""
        facts = {"path": str(self.path), "fingerprint": self.fingerprint, "splits": list(self.splits)}
        counts = [(name.removesuffix(".arrow"), rows) for name, rows in self.manifest.counts.items()]
        sources = [(s.name, s.licence, s.rows_in, s.rows_kept) for s in self.manifest.sources]
        tables = [html.table(("file", "rows"), counts), html.table(("source", "licence", "rows in", "kept"), sources)]
        return html.described(f"Dataset {self.path.name}", facts, tables)

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

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """Those that have judgements, in the order of :data:`SPLITS`."""
        return tuple(split for split in SPLITS if self.manifest.counts.get(f"qrels.{split}.arrow"))

    @property
    def learning_split(self) -> str:
        """``train`` where there is one, else :data:`ALL`: what is counted and fitted on without judgements."""
        return "train" if "train" in self.splits else ALL

    def qrels(self, split: str) -> pl.LazyFrame:
        """Judgements of one split; columns :data:`QRELS`. Raises :class:`DatasetError` if the split is not there."""
        self.require_judgements(f"of its {split} split")
        if split not in self.splits:
            raise DatasetError(f"{self.path} has no {split} qrels; it has: {', '.join(self.splits)}")
        return pl.scan_ipc(self.path / f"qrels.{split}.arrow")

    def require_judgements(self, which: str) -> None:
        """Raise :class:`DatasetError` if the dataset is documents alone; ``which`` judgements are needed."""
        if not self.splits:
            raise DatasetError(
                f"{self.path} has no judgements (qrels), and this needs those {which}: which document answers which "
                "query. Build it again from rows with a title, or of queries and their answers (osparse corpus build); "
                "osparse corpus pairs then cuts pairs to train on out of them"
            )

    def teachers_texts(self) -> SeenTexts | None:
        """What the teachers that scored the candidates learnt from; None where none is known.

        Raises :class:`DatasetError` if the list is missing or was changed.
        """
        note = self.manifest.notes.get("seen")
        return None if note is None else SeenTexts.read(self.path, SeenFile(**note), DatasetError)

    def has_candidates(self, split: str) -> bool:
        return bool(self.manifest.counts.get(f"candidates.{split}.arrow"))

    def candidates(self, split: str) -> pl.LazyFrame:
        """Hard negatives and teachers' scores of one split; columns :data:`CANDIDATES`.

        Raises :class:`DatasetError` if the split has none.
        """
        self.require_judgements(f"of its {split} split")
        if not self.has_candidates(split):
            there = ", ".join(s for s in SPLITS if self.has_candidates(s)) or "none"
            raise DatasetError(
                f"{self.path} has no {split} candidates (splits that have: {there}); make them with: osparse corpus "
                "mine, or build from a source that lists negatives or teachers' scores"
            )
        return pl.scan_ipc(self.path / f"candidates.{split}.arrow")

    def candidate_documents(self, split: str) -> pl.LazyFrame:
        """The documents named by a split's candidates, judged ones among them; columns :data:`DOCUMENTS`."""
        ids = self.candidates(split).select(pl.col("document_id").unique().alias("id"))
        return self.documents.join(ids, on="id", how="semi", maintain_order="left")

    def split_documents(self, split: str) -> pl.LazyFrame:
        """The documents judged in a split: what a tokenizer or an IDF table of that split may read.

        Of :data:`ALL` every document.
        """
        if split == ALL:
            return self.documents
        ids = self.qrels(split).select(pl.col("document_id").unique().alias("id"))
        return self.documents.join(ids, on="id", how="semi", maintain_order="left")

    def learnable_documents(self) -> pl.LazyFrame:
        """All documents but those that a held-back split alone judges, and their groups and copies.

        So unjudged documents are there, and what training judges; columns :data:`DOCUMENTS`.
        """
        ids = {split: self.qrels(split).select(id="document_id").unique() for split in self.splits}
        held = [ids[split] for split in self.splits if split != "train"]
        if not held:
            return self.documents
        trained = ids.get("train", held[0].clear())
        judged = self.documents.join(pl.concat(held).unique(), on="id", how="semi").join(trained, on="id", how="anti")
        keys = judged.select("group", text=pl.col("text").hash()).collect(engine="streaming")
        groups = keys["group"].filter(keys["group"] != "").unique()
        tied = pl.col("group").is_in(groups.implode()) | pl.col("text").hash().is_in(keys["text"].unique().implode())
        out = self.documents.filter(tied).select("id").join(trained, on="id", how="anti")
        return self.documents.join(out, on="id", how="anti", maintain_order="left")

    def split_queries(self, split: str) -> pl.LazyFrame:
        """The queries judged in a split; of :data:`ALL` every query."""
        if split == ALL:
            return self.queries
        ids = self.qrels(split).select(pl.col("query_id").unique().alias("id"))
        return self.queries.join(ids, on="id", how="semi", maintain_order="left")


def save_dataset(
    path: Path,
    *,
    documents: pl.DataFrame | pl.LazyFrame,
    queries: pl.DataFrame | pl.LazyFrame,
    qrels: Mapping[str, pl.DataFrame | pl.LazyFrame],
    sources: Iterable[Source],
    split_rule: str,
    seed: int,
    candidates: Mapping[str, pl.DataFrame | pl.LazyFrame] | None = None,
    notes: Mapping[str, Any] | None = None,
    teachers_texts: SeenTexts | None = None,
    overwrite: bool = False,
) -> Dataset:
    """Write the directory in one step, its tables checked against each other; lazy tables are streamed.

    Args:
        qrels, candidates: split -> rows; a split without rows of a kind has no file of it.
        teachers_texts: what the teachers that scored the candidates learnt from.

    Raises:
        DatasetError: a split that is none of :data:`SPLITS`, duplicate ids, empty texts, a qrel that points nowhere, a
            source that kept no row, a candidate labelled negative that the qrels judge relevant.
        MissingExtraError: pyarrow, which writes the tables, is not installed.
    """
    check("pyarrow", "corpus")
    sources = list(sources)
    if unknown := sorted({*qrels, *(candidates or {})} - {*SPLITS}):
        raise DatasetError(f"{path}: a split must be one of {', '.join(SPLITS)}, got {', '.join(map(repr, unknown))}")
    tables = {
        "documents": documents,
        "queries": queries,
        **{f"qrels.{s}": qrels[s] for s in SPLITS if s in qrels},
        **{f"candidates.{s}": candidates[s] for s in SPLITS if candidates and s in candidates},
    }
    schemas = _schemas(f"{name}.arrow" for name in tables)
    with atomic_directory(path, marker="manifest.json", overwrite=overwrite) as folder:
        counts = {
            f"{name}.arrow": write_table(table, folder / f"{name}.arrow", schemas[name])
            for name, table in tables.items()
        }
        problems = content_problems({name: pl.scan_ipc(folder / f"{name}.arrow") for name in tables}, sources)
        if problems:
            raise DatasetError("\n".join([f"{path}: the dataset was not written", *problems]))
        manifest = Manifest(
            sources=sources,
            split_rule=split_rule,
            seed=seed,
            counts=counts,
            sha256={name: sha256_file(folder / name) for name in counts},
            notes={
                **{key: value for key, value in (notes or {}).items() if key != "seen"},
                **({"seen": asdict(teachers_texts.write(folder))} if teachers_texts is not None else {}),
            },
        )
        (folder / "manifest.json").write_text(pretty_json(asdict(manifest)), encoding="utf-8")
    return Dataset.open(path)


def _read_manifest(path: Path) -> Manifest:
    raw = read_json(path, DatasetError)
    if not isinstance(raw, dict) or raw.get("schema") != SCHEMA_VERSION:
        schema = raw.get("schema") if isinstance(raw, dict) else type(raw).__name__
        raise DatasetError(
            f"{path}: dataset schema must be {SCHEMA_VERSION}, got {schema}; rebuild with: osparse corpus build"
        )
    try:
        return Manifest(**{**raw, "sources": [Source(**source) for source in raw["sources"]]})
    except (KeyError, TypeError) as problem:
        raise DatasetError(f"{path} is not a dataset manifest: {problem}; rebuild with: osparse corpus build") from None


def _schemas(files: Iterable[str]) -> dict[str, Mapping[str, Any]]:
    """Table name -> columns, for the two tables of texts and those of ``files`` that belong to a split."""
    kinds = {"qrels": QRELS, "candidates": CANDIDATES}
    names = [name.removesuffix(".arrow") for name in files]
    return {
        "documents": DOCUMENTS,
        "queries": QUERIES,
        **{name: kinds[name.split(".")[0]] for name in names if name.split(".")[0] in kinds},
    }
