"""A BEIR folder: corpus.jsonl, queries.jsonl and qrels/{train,dev,test}.tsv, with the splits it was published with.

The searched text is ``title + " " + text``, BEIR's own convention; the title is kept beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from osparse.corpus.sources.records import (
    Judgement,
    Options,
    Reader,
    RowCounts,
    SourceDocument,
    SourceQuery,
    SourceRecord,
)
from osparse.errors import DatasetError
from osparse.evaluation.beir import read_qrels, row_language
from osparse.io.files import canonical_json
from osparse.io.streams import find, json_rows
from osparse.rows.ids import id_of, plain_id

SPLITS = {"train": "train", "dev": "validation", "test": "test"}


def read(paths: Sequence[Path], counts: RowCounts, options: Options) -> Iterator[SourceRecord]:
    """Yield the documents, the queries and the judgements of one folder.

    Raises:
        DatasetError: a file is missing, a row is malformed (path:line).
    """
    if len(paths) != 1:
        raise DatasetError(f"source beir reads one folder, got {len(paths)} paths")
    folder = paths[0]
    qrels = {name: find(folder / "qrels", f"{name}.tsv") for name in SPLITS}
    corpus, queries = find(folder, "corpus.jsonl"), find(folder, "queries.jsonl")
    missing = [name for name, path in (("corpus.jsonl", corpus), ("queries.jsonl", queries)) if path is None]
    if not any(qrels.values()):
        missing.append("qrels/test.tsv (or train, dev)")
    if missing or corpus is None or queries is None:
        raise DatasetError(f"{folder} is not a BEIR folder: it has no {', '.join(missing)}")
    for where, row in _rows(corpus, counts):
        title, text = row.get("title") or "", row["text"]
        whole = f"{title} {text}".strip()
        if not whole:
            counts.drop("no text")
            continue
        counts.kept += 1
        yield SourceRecord((SourceDocument(row["_id"], whole, row_language(row, where), title=title, place=where),))
    for where, row in _rows(queries, counts):
        yield SourceRecord(queries=(SourceQuery(row["_id"], row["text"], row_language(row, where), place=where),))
    for name, path in qrels.items():
        if path is not None:
            for judgement in _judgements(path, SPLITS[name], counts):
                yield SourceRecord(judgements=(judgement,))


def _rows(path: Path, counts: RowCounts) -> Iterator[tuple[str, dict[str, Any]]]:
    for where, row in json_rows(path):
        value = id_of(row)
        if value == "":
            raise DatasetError(f"{where}: the _id is empty")
        row["_id"] = plain_id(value)
        if row["_id"] is None:
            raise DatasetError(f"{where}: _id must be a string or a whole number, found {type(value).__name__}")
        if not isinstance(row.get("text"), str):
            raise DatasetError(f"{where}: text must be a string, found {type(row.get('text')).__name__}")
        if not isinstance(row.get("title") or "", str):
            raise DatasetError(f"{where}: title must be a string, found {type(row['title']).__name__}")
        counts.digest.update(canonical_json(row).encode() + b"\n")
        yield where, row


def _judgements(path: Path, split: str, counts: RowCounts) -> Iterator[Judgement]:
    for where, query, document, score in read_qrels(path):
        counts.digest.update(f"{query}\t{document}\t{score}\n".encode())
        yield Judgement(query, document, score, split=split, place=where)


READER = Reader(
    name="beir",
    reads="a folder with corpus.jsonl, queries.jsonl and qrels/{train,dev,test}.tsv",
    licence="the data set's own",
    read=read,
    same_text_is_relevant=False,
    recipe=3,
)
