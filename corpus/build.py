"""``osparse corpus build``: one source in, a whole dataset directory out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from osparse.corpus import beir, debian, jsonl
from osparse.corpus.records import Document, Judgement, Query, Reader, Tally
from osparse.corpus.splits import RULE, best_judgements, deal, same_text_relevant
from osparse.dataset import DOCUMENTS, QUERIES, Dataset, save_dataset
from osparse.errors import DatasetError, InputError
from osparse.files import sha256_file

READERS: dict[str, Reader] = {reader.READER.name: reader.READER for reader in (debian, jsonl, beir)}

log = logging.getLogger("osparse.corpus.build")
JUDGEMENTS = {
    "query_id": pl.String,
    "document_id": pl.String,
    "score": pl.Float32,
    "origin": pl.String,
    "group": pl.String,
    "split": pl.String,
}


def build_dataset(
    source: str, paths: Sequence[Path | str], output: Path | str, *, seed: int = 0, overwrite: bool = False
) -> Dataset:
    """Read a source (``debian``, ``jsonl`` or ``beir``), split it by group and write a dataset directory.

    A dataset already at ``output`` that was built from the same source, files and seed is returned as it is; that
    holds for ``debian`` too, whose lists are fetched again only with ``overwrite``.

    Raises:
        DatasetError: malformed input (with path and line), duplicate ids, a source that keeps no row.
        InputError: ``output`` holds something else and ``overwrite`` is false.
    """
    reader, output, files = _reader(source), Path(output), [Path(path) for path in paths]
    if reader.needs_paths and not files:
        raise DatasetError(f"--source {source} needs a PATH to read")
    request = {"recipe": reader.recipe, "source": source, "paths": _checksums(files), "seed": seed}
    if not overwrite and output.exists():
        ready = _up_to_date(output, request)
        if ready is not None:
            return ready
    tally = reader.tally()
    documents, queries, judgements = _collect(reader, files, tally)
    if not tally.kept:
        reasons = ", ".join(f"{rows} {reason}" for reason, rows in tally.dropped.items()) or "it is empty"
        raise DatasetError(f"source {source} kept 0 of {tally.source().rows_in} rows ({reasons}); nothing was written")
    if reader.same_text_is_relevant:
        judgements = same_text_relevant(judgements, documents)
    qrels, removed = deal(best_judgements(judgements), documents, queries, seed)
    for reason, rows in removed.items():
        log.info("%s judgements removed: %s", f"{rows:,}", reason)
    return save_dataset(
        output,
        documents=documents,
        queries=queries,
        qrels=qrels,
        sources=[tally.source()],
        split_rule=RULE if judgements["split"].is_null().all() else "as the source published them",
        seed=seed,
        notes={"request": request, "judgements_removed": dict(removed), **tally.notes},
        overwrite=overwrite,
    )


def _reader(source: str) -> Reader:
    if source not in READERS:
        raise InputError(f"unknown source {source!r}; known: {', '.join(READERS)}")
    return READERS[source]


def _checksums(paths: Sequence[Path]) -> dict[str, str]:
    """File name -> sha256 of everything given; a folder counts by the files in it."""
    found: dict[str, str] = {}
    for number, path in enumerate(paths):
        if not path.exists():
            raise DatasetError(f"{path} does not exist")
        files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        for file in files:
            found[f"{number}/{file.relative_to(path) if path.is_dir() else file.name}"] = sha256_file(file)
    return found


def _up_to_date(output: Path, request: dict[str, Any]) -> Dataset | None:
    if output.is_dir() and not any(output.iterdir()):
        return None
    dataset = Dataset.open(output)
    if dataset.manifest.notes.get("request") != request:
        raise InputError(
            f"{output} is a dataset made from other inputs; pass --overwrite to replace it, or another --output"
        )
    log.info("%s is up to date", output)
    return dataset


def _collect(reader: Reader, paths: Sequence[Path], tally: Tally) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    documents: list[Document] = []
    queries: list[Query] = []
    judgements: list[Judgement] = []
    for record in reader.read(paths, tally):
        documents += record.documents
        queries += record.queries
        judgements += record.judgements
    found = pl.DataFrame(
        [(d.id, d.title, d.text, d.lang, d.date, d.source or reader.name, d.group) for d in documents],
        schema=DOCUMENTS,
        orient="row",
    )
    return (
        found,
        pl.DataFrame([(q.id, q.text, q.lang, q.date) for q in queries], schema=QUERIES, orient="row"),
        pl.DataFrame(
            [(j.query_id, j.document_id, j.score, j.origin, j.group, j.split) for j in judgements],
            schema=JUDGEMENTS,
            orient="row",
        ),
    )
