"""A BEIR folder: corpus.jsonl, queries.jsonl and qrels/{train,dev,test}.tsv, with the splits it was published with.

The searched text is ``title + " " + text``, BEIR's own convention; the title is kept beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from osparse.beir import read_qrels, row_language
from osparse.corpus.records import Document, Judgement, Query, Reader, Record, Tally
from osparse.errors import DatasetError
from osparse.files import canonical_json, read_jsonl
from osparse.progress import track

SPLITS = {"train": "train", "dev": "validation", "test": "test"}


def read(paths: Sequence[Path], tally: Tally) -> Iterator[Record]:
    """Yield the documents, the queries and the judgements of one folder.

    Raises:
        DatasetError: a file is missing, a row is malformed (path:line), an id is used twice or judged but unknown.
    """
    if len(paths) != 1:
        raise DatasetError(f"--source beir takes one folder, found {len(paths)} paths")
    folder = paths[0]
    qrels = {name: folder / "qrels" / f"{name}.tsv" for name in SPLITS}
    missing = [name for name in ("corpus.jsonl", "queries.jsonl") if not (folder / name).is_file()]
    if not any(path.is_file() for path in qrels.values()):
        missing.append("qrels/test.tsv (or train, dev)")
    if missing:
        raise DatasetError(f"{folder} is not a BEIR folder: it has no {', '.join(missing)}")
    documents: set[str] = set()
    for where, row in _rows(folder / "corpus.jsonl", tally):
        _unique(row["_id"], documents, where)
        title, text = row.get("title") or "", row["text"]
        whole = f"{title} {text}".strip()
        if not whole:
            tally.drop("no text")
            documents.discard(row["_id"])
            continue
        tally.kept += 1
        yield Record((Document(row["_id"], whole, row_language(row, where), title=title),))
    queries: set[str] = set()
    for where, row in _rows(folder / "queries.jsonl", tally):
        _unique(row["_id"], queries, where)
        if not row["text"].strip():
            raise DatasetError(f"{where}: a query without text")
        yield Record(queries=(Query(row["_id"], row["text"], row_language(row, where)),))
    for name, path in qrels.items():
        if path.is_file():
            yield Record(judgements=tuple(_judgements(path, SPLITS[name], queries, documents, tally)))


def _rows(path: Path, tally: Tally) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, row in track(read_jsonl(path, DatasetError), f"reading {path.name}", unit="rows"):
        where = f"{path}:{number}"
        for key in ("_id", "text"):
            if not isinstance(row.get(key), str):
                raise DatasetError(f"{where}: {key} must be a string, found {type(row.get(key)).__name__}")
        if not isinstance(row.get("title") or "", str):
            raise DatasetError(f"{where}: title must be a string, found {type(row['title']).__name__}")
        tally.digest.update(canonical_json(row).encode() + b"\n")
        yield where, row


def _unique(name: str, known: set[str], where: str) -> None:
    if name in known or not name:
        raise DatasetError(f"{where}: the _id {name!r} is {'used twice' if name else 'empty'}")
    known.add(name)


def _judgements(path: Path, split: str, queries: set[str], documents: set[str], tally: Tally) -> Iterator[Judgement]:
    for where, query, document, score in read_qrels(path):
        for name, known, what in ((query, queries, "queries.jsonl"), (document, documents, "corpus.jsonl")):
            if name not in known:
                raise DatasetError(f"{where}: {name!r} is not in {what}")
        tally.digest.update(f"{query}\t{document}\t{score}\n".encode())
        yield Judgement(query, document, score, split=split)


READER = Reader(name="beir", licence="the data set's own", read=read, same_text_is_relevant=False, recipe=2)
